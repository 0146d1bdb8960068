//! What an allocation really takes, so that the bound on memory is one.

/// The bytes that jemalloc sets aside for an allocation of this size: multiples of 16 up to 128, beyond that four sizes
/// for each doubling. (Of 8 bytes and fewer it takes less; nothing here is so small.)
pub const fn allocated(size: usize) -> usize {
    match size {
        0 => 0,
        1..=128 => size.next_multiple_of(16),
        // No allocation is larger.
        _ if size > isize::MAX as usize => size,
        _ => size.next_multiple_of(1 << ((size - 1).ilog2() - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::allocated;

    #[test]
    fn sizes_are_those_that_the_allocator_documents() {
        for (size, class) in [
            (0, 0),
            (1, 16),
            (16, 16),
            (17, 32),
            (113, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (192, 192),
            (193, 224),
            (257, 320),
            (1024, 1024),
            (1025, 1280),
            (1100, 1280),
            (2049, 2560),
            (14 << 10, 14 << 10),
            ((14 << 10) + 1, 16 << 10),
            ((16 << 10) + 1, 20 << 10),
            (usize::MAX, usize::MAX),
        ] {
            assert_eq!(allocated(size), class, "{size}");
        }
    }
}
