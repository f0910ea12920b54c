use crate::limits::Limits;

/// How [`crate::read`] reads; the defaults fit most data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Images: size and colour.
    pub image: ImageOptions,
    /// Tables: columns and cells.
    pub csv: CsvOptions,
    /// What targets are.
    pub target_kind: TargetKind,
    /// Where the channels of four-dimensional arrays are; `None` finds it by the sizes.
    pub layout: Option<Layout>,
    /// Names of the classes 0, 1, ... of data that only has numbers for them.
    pub class_names: Option<Vec<String>>,
    /// Limits on what is read.
    pub limits: Limits,
}

/// Size and colour of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageOptions {
    /// Height and width. Image files are resized to it, or must all be of one size when it is
    /// `None`. Arrays are not resized; rows of numbers (CSV) become images of this size.
    pub size: Option<(usize, usize)>,
    /// Channels of image files.
    pub color: Color,
}

/// Channels that image files are read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Color {
    /// Grey when every file is, else RGB.
    #[default]
    Auto,
    /// One channel: luma of ITU-R BT.601.
    Gray,
    /// Three channels.
    Rgb,
}

/// What targets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetKind {
    /// Classes when all are whole numbers or text, else values.
    #[default]
    Auto,
    /// Classes.
    Classes,
    /// Numbers (regression).
    Values,
}

/// Order of the dimensions of an array of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[N, C, H, W]`, as in PyTorch and ONNX.
    ChannelsFirst,
    /// `[N, H, W, C]`, as in TensorFlow and image files.
    ChannelsLast,
}

/// Columns and cells of tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// Name of the target column; the last one when `None`. Columns of a table without a header
    /// are called `x0`, `x1`, ...
    pub target: Option<String>,
    /// What separates cells; `None` finds it in the first line, among `,` `;` tab and `|`.
    pub delimiter: Option<u8>,
    /// Whether the first line has the columns' names; `None` takes it for names unless all its
    /// cells are numbers.
    pub header: Option<bool>,
    /// Columns to leave out.
    pub drop: Vec<String>,
    /// Columns of numbers that are categories all the same.
    pub categorical: Vec<String>,
    /// Cells that mean a missing value, after white space around them is removed.
    pub missing: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> CsvOptions {
        let missing = ["", "?", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"];
        CsvOptions {
            target: None,
            delimiter: None,
            header: None,
            drop: Vec::new(),
            categorical: Vec::new(),
            missing: missing.map(String::from).to_vec(),
        }
    }
}
