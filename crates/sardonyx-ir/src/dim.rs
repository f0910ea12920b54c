//! Dimensions: a number, a named symbol such as the batch `N`, or a product of them. Products are
//! what flattening and reshaping make of a symbolic batch; sums of different symbols are not
//! followed and become a new symbol.

use std::fmt;
use std::sync::Arc;

/// One dimension of a shape: `coefficient * symbol * symbol * ...`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dim {
    coefficient: usize,
    symbols: Vec<Arc<str>>,
}

impl Dim {
    /// A number.
    pub const fn known(value: usize) -> Dim {
        Dim {
            coefficient: value,
            symbols: Vec::new(),
        }
    }

    /// A named unknown.
    pub fn symbol(name: &str) -> Dim {
        Dim {
            coefficient: 1,
            symbols: vec![Arc::from(name)],
        }
    }

    /// The dimension that a file names `text`: a product as this type writes it (`1600*N`) is that
    /// product, anything else is one symbol.
    pub fn from_text(text: &str) -> Dim {
        Dim::product_from_text(text)
            .filter(|dim| dim.to_string() == text)
            .unwrap_or_else(|| Dim::symbol(text))
    }

    fn product_from_text(text: &str) -> Option<Dim> {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let mut factors = text.split('*').peekable();
        let coefficient =
            factors.next_if(|factor| factor.starts_with(|c: char| c.is_ascii_digit()));
        let mut product = Dim::known(coefficient.map_or(Ok(1), str::parse).ok()?);
        factors.peek()?;
        for name in factors {
            product = product
                .checked_mul(&Dim::symbol(name))
                .filter(|_| is_name(name))?;
        }
        Some(product)
    }

    /// A dimension of which nothing is known, not even a name that a user would know: `owner` and
    /// `axis` tell it from the others.
    pub fn unknown(owner: &str, axis: usize) -> Dim {
        Dim::symbol(&format!("?{owner}:{axis}"))
    }

    /// Whether an unknown is in it ([`Dim::unknown`], or a shape that inference could not follow):
    /// files then say nothing of it.
    pub fn is_unknown(&self) -> bool {
        self.symbols.iter().any(|symbol| symbol.starts_with('?'))
    }

    /// The number, when there is no symbol in it.
    pub fn value(&self) -> Option<usize> {
        self.symbols.is_empty().then_some(self.coefficient)
    }

    /// Whether this is the number 1, the dimension that broadcasts.
    pub fn is_one(&self) -> bool {
        self.value() == Some(1)
    }

    /// The symbols in it, sorted, one entry per factor.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.symbols.iter().map(AsRef::as_ref)
    }

    /// Product; `None` when the numeric part overflows.
    pub fn checked_mul(&self, other: &Dim) -> Option<Dim> {
        let coefficient = self.coefficient.checked_mul(other.coefficient)?;
        if coefficient == 0 {
            return Some(Dim::known(0));
        }
        let mut symbols = [&self.symbols[..], &other.symbols].concat();
        symbols.sort();
        Some(Dim {
            coefficient,
            symbols,
        })
    }

    /// Quotient, when it is exact.
    pub fn checked_div(&self, other: &Dim) -> Option<Dim> {
        if other.coefficient == 0 || !self.coefficient.is_multiple_of(other.coefficient) {
            return None;
        }
        let mut symbols = self.symbols.clone();
        for symbol in &other.symbols {
            let position = symbols.iter().position(|own| own == symbol)?;
            symbols.remove(position);
        }
        Some(Dim {
            coefficient: self.coefficient / other.coefficient,
            symbols,
        })
    }

    /// Sum, when both have the same symbols (or one is zero).
    pub fn checked_add(&self, other: &Dim) -> Option<Dim> {
        if self.coefficient == 0 {
            return Some(other.clone());
        }
        if other.coefficient == 0 {
            return Some(self.clone());
        }
        if self.symbols != other.symbols {
            return None;
        }
        let coefficient = self.coefficient.checked_add(other.coefficient)?;
        Some(Dim {
            coefficient,
            symbols: self.symbols.clone(),
        })
    }

    /// The product of several dimensions; `None` on overflow.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Option<Dim> {
        dims.into_iter()
            .try_fold(Dim::known(1), |product, dim| product.checked_mul(dim))
    }

    /// Replaces the symbols that `lookup` knows by numbers.
    pub fn bind(&self, lookup: impl Fn(&str) -> Option<usize>) -> Option<Dim> {
        let mut bound = Dim::known(self.coefficient);
        for symbol in &self.symbols {
            let factor = match lookup(symbol) {
                Some(value) => Dim::known(value),
                None => Dim {
                    coefficient: 1,
                    symbols: vec![symbol.clone()],
                },
            };
            bound = bound.checked_mul(&factor)?;
        }
        Some(bound)
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim::known(value)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.symbols.is_empty() || self.coefficient != 1 {
            write!(f, "{}", self.coefficient)?;
        }
        for (index, symbol) in self.symbols.iter().enumerate() {
            if index > 0 || self.coefficient != 1 {
                f.write_str("*")?;
            }
            f.write_str(symbol)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_keep_the_batch() {
        let batch = Dim::symbol("N");
        let flat = batch.checked_mul(&Dim::known(1600)).expect("no overflow");
        assert_eq!(flat.to_string(), "1600*N");
        assert_eq!(flat.checked_div(&Dim::known(1600)), Some(batch.clone()));
        assert_eq!(flat.checked_div(&Dim::known(1601)), None);
        assert_eq!(flat.checked_div(&batch), Some(Dim::known(1600)));
        assert_eq!(
            flat.bind(|name| (name == "N").then_some(2)),
            Some(Dim::known(3200))
        );
    }

    #[test]
    fn text_gives_products_back() {
        let product = Dim::symbol("N")
            .checked_mul(&Dim::known(1600))
            .expect("small");
        assert_eq!(Dim::from_text("1600*N"), product);
        assert_eq!(Dim::from_text("N*1600"), Dim::symbol("N*1600"));
        assert_eq!(Dim::from_text("a*b").symbols().count(), 2);
        for text in [
            "N",
            "7",
            "",
            "2*3",
            "floor(N/2)",
            "*",
            "0*N",
            "99999999999999999999*N",
        ] {
            assert_eq!(Dim::from_text(text), Dim::symbol(text), "{text}");
        }
        assert!(Dim::unknown("x", 0).is_unknown());
        assert!(!product.is_unknown());
    }

    #[test]
    fn sums_need_like_terms() {
        let batch = Dim::symbol("N");
        assert_eq!(
            batch.checked_add(&batch).map(|d| d.to_string()),
            Some("2*N".to_owned())
        );
        assert_eq!(batch.checked_add(&Dim::known(1)), None);
        assert_eq!(batch.checked_add(&Dim::known(0)), Some(batch));
    }

    #[test]
    fn overflow_is_noticed() {
        assert_eq!(Dim::known(usize::MAX).checked_mul(&Dim::known(2)), None);
        assert_eq!(Dim::known(usize::MAX).checked_add(&Dim::known(1)), None);
    }
}
