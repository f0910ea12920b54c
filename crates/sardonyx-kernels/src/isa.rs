use std::fmt;

/// An instruction set for which kernels are compiled. The choice is made when a kernel is made,
/// never in an inner loop.
///
/// Every kernel gives the same bytes for any number of threads on one instruction set; between
/// instruction sets results differ in the last bits, because vector widths and fused
/// multiply-adds differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, eight lanes; runs everywhere.
    Scalar,
    /// 256-bit AVX2 with FMA.
    Avx2,
    /// 512-bit AVX-512 (F, BW, DQ, VL).
    Avx512,
}

impl Isa {
    /// The widest instruction set of this processor.
    pub fn detect() -> Isa {
        *Isa::available()
            .last()
            .expect("the scalar path is always there")
    }

    /// Every instruction set that this processor has, narrowest first.
    pub fn available() -> Vec<Isa> {
        [Isa::Scalar, Isa::Avx2, Isa::Avx512]
            .into_iter()
            .filter(|isa| isa.is_available())
            .collect()
    }

    /// Whether this processor has it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    /// Whether this processor has it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        self == Isa::Scalar
    }

    /// Floats in one row of a packed panel (see the crate's packing kernels).
    pub const fn panel_width(self) -> usize {
        match self {
            Isa::Scalar => 8,
            Isa::Avx2 => 16,
            Isa::Avx512 => 32,
        }
    }

    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_cannot_be_tested_here_is_said() {
        for isa in [Isa::Scalar, Isa::Avx2, Isa::Avx512] {
            let is_tested = Isa::available().contains(&isa);
            assert_eq!(is_tested, isa.is_available());
            if !is_tested {
                // Past the capture of the test's output.
                let message = format!("this processor has no {isa}: its kernels are NOT tested");
                writeln!(std::io::stderr(), "{message}").expect("stderr takes text");
            }
        }
        assert_eq!(Isa::available()[0], Isa::Scalar);
    }
}
