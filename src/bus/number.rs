//! The numbers of a fleet's log.
//!
//! ```text
//! era 14 | number in Redis 34 | local 16
//! ```
//!
//! One comparison of two numbers is the whole rule. An era that begins makes every number of the era
//! before smaller. The local part counts what an instance has invalidated by itself since the last
//! record from Redis: so what it fetches while Redis is away can be told from what it held before,
//! and is worth storing.

use super::Seq;

const LOCAL_BITS: u32 = 16;
const NUMBER_BITS: u32 = 34;
/// The last number of an era; the script that appends begins a new era with the next.
pub(super) const LAST: u64 = (1 << NUMBER_BITS) - 1;
/// The last era.
pub(super) const LAST_ERA: u64 = (1 << (64 - NUMBER_BITS - LOCAL_BITS)) - 1;

/// A number in Redis.
pub(super) fn compose(era: u64, number: u64) -> Seq {
    (era.min(LAST_ERA) << (NUMBER_BITS + LOCAL_BITS)) | (number.min(LAST) << LOCAL_BITS)
}

/// Era and number in Redis; what an instance did by itself is left out.
pub(super) fn split(seq: Seq) -> (u64, u64) {
    (seq >> (NUMBER_BITS + LOCAL_BITS), (seq >> LOCAL_BITS) & LAST)
}

/// The same as the log has it, without what an instance did by itself.
pub(super) fn shared(seq: Seq) -> Seq {
    seq >> LOCAL_BITS << LOCAL_BITS
}

/// The number of the next record in Redis.
pub(super) fn next(seq: Seq) -> Seq {
    after(seq, 1)
}

/// The number of the last of so many next records in Redis.
pub(super) fn after(seq: Seq, records: u64) -> Seq {
    shared(seq) + (records << LOCAL_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_era_a_later_number_and_a_later_local_part_are_greater_in_that_order() {
        let ordered = [0, 1, compose(0, 1), compose(0, 1) + 5, compose(0, LAST), compose(1, 0), compose(1, 0) + 1];
        assert!(ordered.is_sorted());
        assert_eq!(split(compose(3, 7) + 9), (3, 7));
        assert_eq!(shared(compose(3, 7) + 9), compose(3, 7));
        assert_eq!(next(compose(3, 7) + 9), compose(3, 8));
        assert_eq!(split(compose(1, LAST + 5)), (1, LAST));
        assert_eq!(split(compose(LAST_ERA + 1, 1)), (LAST_ERA, 1), "an era never wraps around");
    }
}
