//! How fast the machine is at this moment, for work that neither waits nor calls the kernel.
//!
//! What shares the hardware with this machine, such as another tenant on the other thread of a core, is seen nowhere but in
//! how long the same work takes.

use std::hint::black_box;

use crate::now;

/// Numbers that are gone through: more than a first-level cache holds, and less than a second-level one.
const NUMBERS: usize = 16 * 1024;
/// How often a measurement goes through them.
const TURNS: usize = 32;
/// Measurements, of which the median counts.
const TIMES: usize = 15;
/// Chains of operations that do not wait for one another, as in most code.
const CHAINS: usize = 8;

/// Prints how many nanoseconds a fixed amount of work takes.
pub(crate) fn run() {
    let numbers: Vec<u64> = (0..NUMBERS as u64).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let mut taken: Vec<u128> = (0..TIMES)
        .map(|_| {
            let began = now();
            (0..TURNS).for_each(|_| {
                black_box(work(black_box(&numbers)));
            });
            began.elapsed().as_nanos()
        })
        .collect();
    taken.sort_unstable();
    println!("{}", taken[TIMES / 2]);
}

fn work(numbers: &[u64]) -> [u64; CHAINS] {
    let mut sums = [1_u64; CHAINS];
    let (chunks, _) = numbers.as_chunks::<CHAINS>();
    for chunk in chunks {
        for (sum, number) in sums.iter_mut().zip(chunk) {
            *sum = (*sum ^ number).wrapping_mul(0xFF51_AFD7_ED55_8CCD).rotate_left(23);
        }
    }
    sums
}
