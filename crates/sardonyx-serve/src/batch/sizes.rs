//! The batch sizes that are run. Each is planned once, so there are few of them: powers of two and
//! one and a half times those. A batch is filled up with zeros to the next one.

/// The sizes up to `max_batch_size`, smallest first.
pub(crate) fn batch_sizes(max_batch_size: usize) -> impl Iterator<Item = usize> {
    let next =
        move |&size: &usize| (size < max_batch_size).then(|| padded_rows(size + 1, max_batch_size));
    std::iter::successors(Some(1), next)
}

/// The size that `rows` samples run at. More than a batch may hold run as they are.
pub(super) fn padded_rows(rows: usize, max_batch_size: usize) -> usize {
    if rows == 0 || rows >= max_batch_size {
        return rows;
    }
    let above = rows.next_power_of_two();
    let between = above / 4 * 3;
    let size = if between >= rows { between } else { above };
    size.min(max_batch_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_batch_sizes_are_planned() {
        let sizes: Vec<usize> = batch_sizes(32).collect();
        assert_eq!(sizes, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]);
        assert!((1..=32).all(|rows| sizes.contains(&padded_rows(rows, 32))));
        assert!((1..=32).all(|rows| padded_rows(rows, 32) >= rows));
        assert_eq!(padded_rows(50, 32), 50);
        assert_eq!(batch_sizes(10).last(), Some(10));
        assert_eq!(batch_sizes(1).collect::<Vec<_>>(), [1]);
    }
}
