//! What an allocation of a given size really takes.

/// The block that the allocator (mimalloc, as `.cargo/config.toml` has it built) uses for `bytes`:
/// multiples of 8 up to 64 and of 16 up to 128, then four steps to each power of two; past 64 KiB
/// whole 4 KiB pages. An empty allocation takes nothing.
pub const fn alloc_size(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let step = match bytes {
        0..=64 => 8,
        65..=128 => 16,
        129..=65_536 => 1 << ((bytes - 1).ilog2() - 2),
        _ => 4096,
    };
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::alloc_size;

    #[test]
    fn follows_the_classes() {
        let classes = [
            8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512,
        ];
        let mut class = classes.iter();
        let mut current = 0;
        for bytes in 1..=512 {
            if bytes > current {
                current = *class.next().expect("the list ends at 512");
            }
            assert_eq!(alloc_size(bytes), current, "{bytes}");
        }
        assert_eq!(alloc_size(0), 0);
        assert_eq!(alloc_size(5000), 5120);
        assert_eq!(alloc_size(8192), 8192);
        assert_eq!(alloc_size(8193), 10_240);
        assert_eq!(alloc_size(70_000), 73_728);
    }
}
