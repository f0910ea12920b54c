//! Values of a request as error messages show them: laid out anew, and cut off when they are long.

use super::scan::Scanner;

/// Text past this length is not started; what was started is finished.
const MAX_BYTES: usize = 256;

/// The first part of the value that `text` starts with. The text must be valid JSON.
pub(crate) fn excerpt(text: &[u8]) -> String {
    let mut scanner = Scanner::new(text);
    let mut out = String::new();
    let mut open: Vec<u8> = Vec::new();
    // Whether a value of the innermost bracket has been written.
    let mut follows = false;
    while out.len() < MAX_BYTES {
        let byte = scanner.peek();
        let start = scanner.at;
        match (byte, open.last()) {
            (None, _) => break,
            (Some(b',' | b':'), _) => {
                scanner.at += 1;
                continue;
            }
            (Some(close @ (b']' | b'}')), Some(_)) => {
                scanner.at += 1;
                open.pop();
                if close == b'}' && follows {
                    line(&mut out, open.len());
                }
                out.push(char::from(close));
                follows = true;
            }
            (Some(byte), innermost) => {
                separate(&mut out, innermost, follows, open.len());
                if innermost == Some(&b'}') {
                    let Ok(name) = scanner.string() else { break };
                    out.push_str(&clipped(&scanner.bytes[start..scanner.at], name.len()));
                    out.push_str(": ");
                    scanner.eat(b':');
                    follows = value(&mut scanner, &mut out, &mut open);
                } else {
                    let _ = byte;
                    follows = value(&mut scanner, &mut out, &mut open);
                }
            }
        }
        if open.is_empty() {
            break;
        }
    }
    out
}

/// Writes the scalar or the opening bracket that comes next; whether a value is then complete.
fn value(scanner: &mut Scanner<'_>, out: &mut String, open: &mut Vec<u8>) -> bool {
    match scanner.peek() {
        Some(byte @ (b'[' | b'{')) => {
            scanner.at += 1;
            out.push(char::from(byte));
            open.push(if byte == b'[' { b']' } else { b'}' });
            false
        }
        _ => {
            let text = scanner.value_text().unwrap_or_default();
            if text.is_empty() {
                // Not JSON after all: what is left is not worth showing.
                scanner.at = scanner.bytes.len();
            }
            out.push_str(&clipped(text, text.len()));
            true
        }
    }
}

fn separate(out: &mut String, innermost: Option<&u8>, follows: bool, depth: usize) {
    if follows {
        out.push(',');
    }
    match innermost {
        Some(b'}') => line(out, depth),
        Some(_) if follows => out.push(' '),
        _ => {}
    }
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth.min(MAX_BYTES / 4) {
        out.push_str("    ");
    }
}

fn clipped(text: &[u8], length: usize) -> String {
    let end = text.len().min(length.max(MAX_BYTES)).min(MAX_BYTES);
    String::from_utf8_lossy(&text[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_laid_out() {
        assert_eq!(excerpt(b"1.0"), "1.0");
        assert_eq!(excerpt(b"\"a\\n\" , 1"), "\"a\\n\"");
        assert_eq!(excerpt(b"[1,[2,3], [] ]x"), "[1, [2, 3], []]");
        assert_eq!(
            excerpt(b"{\"a\":[1,{\"b\":2}],\"c\":{}}"),
            "{\n    \"a\": [1, {\n            \"b\": 2\n        }],\n    \"c\": {}\n}"
        );
    }

    #[test]
    fn long_values_are_cut() {
        let list = format!("[{}1]", "1,".repeat(100_000));
        assert!(excerpt(list.as_bytes()).len() < 2 * MAX_BYTES);
        let text = format!("\"{}\"", "é".repeat(100_000));
        assert!(excerpt(text.as_bytes()).len() < 2 * MAX_BYTES);
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert_eq!(excerpt(deep.as_bytes()), "[".repeat(MAX_BYTES));
    }
}
