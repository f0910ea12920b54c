/// Limits on what comes from outside. Readers check them before they allocate; a count below a
/// limit still has to be backed by real bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file as it lies on the disk.
    pub file_bytes: u64,
    /// Bytes of one array or table once decoded.
    pub decoded_bytes: u64,
    /// Files (and folders) that a folder of images may hold.
    pub files: usize,
    /// Bytes of one image file.
    pub image_bytes: u64,
    /// Pixels of one image.
    pub image_pixels: u64,
    /// Columns of a table, after one-hot encoding too.
    pub features: usize,
    /// Classes.
    pub classes: usize,
    /// Different values of one categorical column.
    pub categories: usize,
    /// Bytes of one CSV record.
    pub record_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            file_bytes: 8 << 30,
            decoded_bytes: 8 << 30,
            files: 4_000_000,
            image_bytes: 256 << 20,
            image_pixels: 1 << 26,
            features: 1 << 16,
            classes: 1 << 16,
            categories: 1_000,
            record_bytes: 16 << 20,
        }
    }
}
