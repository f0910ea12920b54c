//! The trace that a request belongs to, as W3C Trace Context has it
//! (<https://www.w3.org/TR/trace-context/>): strict in what is taken, so that what is passed on is
//! valid.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sardonyx_tensor::Philox;

/// Most members of a `tracestate` (3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// Length of a `traceparent` of version 00.
const PARENT_LEN: usize = 55;

/// Where a request is in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole trace; not zero.
    pub trace_id: [u8; 16],
    /// This span of it; not zero.
    pub span_id: [u8; 8],
    /// Whether the caller may have recorded it.
    pub is_sampled: bool,
    /// What others keep about the trace, as it came, joined; empty when there is none.
    pub state: String,
}

impl TraceContext {
    /// The first span of a new trace.
    pub fn root(is_sampled: bool) -> TraceContext {
        TraceContext {
            trace_id: random(),
            span_id: short_random(),
            is_sampled,
            state: String::new(),
        }
    }

    /// What the headers `traceparent` and `tracestate` say. `None` when there is no valid
    /// `traceparent`, or more than one: then a new trace begins. A `tracestate` that is not valid
    /// is left out.
    pub fn from_headers<'a>(
        parents: impl IntoIterator<Item = &'a str>,
        states: impl IntoIterator<Item = &'a str>,
    ) -> Option<TraceContext> {
        let mut parents = parents.into_iter();
        let parent = parents.next()?;
        if parents.next().is_some() {
            return None;
        }
        let mut context = parse_parent(parent)?;
        context.state = parse_state(states).unwrap_or_default();
        Some(context)
    }

    /// The next span within the same trace.
    pub fn child(&self) -> TraceContext {
        TraceContext {
            span_id: short_random(),
            ..self.clone()
        }
    }

    /// The id of the whole trace, in hexadecimal.
    pub fn id(&self) -> String {
        let mut text = String::with_capacity(32);
        push_hex(&mut text, &self.trace_id);
        text
    }

    /// The header `traceparent`.
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(PARENT_LEN);
        text.push_str("00-");
        push_hex(&mut text, &self.trace_id);
        text.push('-');
        push_hex(&mut text, &self.span_id);
        text.push_str(if self.is_sampled { "-01" } else { "-00" });
        text
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// A `traceparent` of version 00, or what is known of one of a later version (3.2.2, 4.3).
fn parse_parent(text: &str) -> Option<TraceContext> {
    // Only optional white space may surround a header's value.
    let bytes = text.trim_matches([' ', '\t']).as_bytes();
    let version = hex::<1>(bytes.get(..2)?)?[0];
    let is_whole = bytes.len() == PARENT_LEN;
    let has_more = version > 0 && bytes.get(PARENT_LEN) == Some(&b'-');
    if version == 0xff || !(is_whole || has_more) {
        return None;
    }
    if [2, 35, 52].iter().any(|&at| bytes[at] != b'-') {
        return None;
    }
    let context = TraceContext {
        trace_id: hex(&bytes[3..35])?,
        span_id: hex(&bytes[36..52])?,
        is_sampled: hex::<1>(&bytes[53..55])?[0] & 1 == 1,
        state: String::new(),
    };
    let is_named = context.trace_id != [0; 16] && context.span_id != [0; 8];
    is_named.then_some(context)
}

/// `N` bytes of lower-case hexadecimal digits.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The members of all headers, joined in order (3.3).
fn parse_state<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut keys = BTreeSet::new();
    let mut joined = String::new();
    for member in headers.into_iter().flat_map(|header| header.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        if !is_key(key) || !is_value(value) || !keys.insert(key) || keys.len() > MAX_MEMBERS {
            return None;
        }
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(member);
    }
    Some(joined)
}

fn is_key(key: &str) -> bool {
    let part = |text: &str, max_len: usize, may_start_with_digit: bool| {
        let is_start =
            |byte: &u8| byte.is_ascii_lowercase() || may_start_with_digit && byte.is_ascii_digit();
        let is_rest = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte)
        };
        text.len() <= max_len
            && text.as_bytes().first().is_some_and(is_start)
            && text.bytes().all(is_rest)
    };
    match key.split_once('@') {
        Some((tenant, system)) => part(tenant, 241, true) && part(system, 14, false),
        None => part(key, 256, false),
    }
}

fn is_value(value: &str) -> bool {
    let is_char = |byte: u8| (0x20..=0x7e).contains(&byte) && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_char) && !value.ends_with(' ')
}

/// 16 bytes that no other call of any process is likely to get; not all zero. Nothing secret
/// hangs on them.
fn random() -> [u8; 16] {
    static SEEDS: OnceLock<[u64; 2]> = OnceLock::new();
    static CALLS: AtomicU64 = AtomicU64::new(0);
    // The operating system's randomness, by the one way to it that the standard library has.
    let [seed, stream] =
        *SEEDS.get_or_init(|| std::array::from_fn(|_| RandomState::new().build_hasher().finish()));
    loop {
        let words = Philox::block(seed, stream, CALLS.fetch_add(1, Ordering::Relaxed));
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        if bytes[..8] != [0; 8] {
            return bytes;
        }
    }
}

fn short_random() -> [u8; 8] {
    let bytes = random();
    std::array::from_fn(|index| bytes[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "12345678901234567890123456789012";

    fn parent(text: &str) -> Option<TraceContext> {
        TraceContext::from_headers([text], [])
    }

    fn state(headers: &[&str]) -> String {
        let parent = format!("00-{TRACE}-1234567890123456-00");
        let context = TraceContext::from_headers([parent.as_str()], headers.iter().copied());
        context.expect("the parent is valid").state
    }

    #[test]
    fn a_valid_parent_is_read_and_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = parent(text).expect("the recommendation's own example");
        assert!(context.is_sampled);
        assert_eq!(context.traceparent(), text);
        let child = context.child();
        assert_eq!(child.trace_id, context.trace_id);
        assert_ne!(child.span_id, context.span_id);
        assert_eq!(parent(&child.traceparent()), Some(child));
    }

    /// The cases of the W3C's own test suite for `traceparent`.
    #[test]
    fn a_parent_that_is_not_valid_starts_a_new_trace() {
        let cases = [
            String::new(),
            format!("ff-{TRACE}-1234567890123456-01"),
            format!("00-{TRACE}-1234567890123456-01."),
            format!("00-{TRACE}-1234567890123456-01-what-the-future-will-be-like"),
            format!("cc-{TRACE}-1234567890123456-01.what-the-future-will-not-be-like"),
            format!(".0-{TRACE}-1234567890123456-01"),
            format!("0.-{TRACE}-1234567890123456-01"),
            format!("000-{TRACE}-1234567890123456-01"),
            format!("0-{TRACE}-1234567890123456-01"),
            "00-00000000000000000000000000000000-1234567890123456-01".to_owned(),
            "00-.2345678901234567890123456789012-1234567890123456-01".to_owned(),
            "00-ABCDEF78901234567890123456789012-1234567890123456-01".to_owned(),
            format!("00-{TRACE}3-1234567890123456-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-123456789012345.-01"),
            format!("00-{TRACE}-12345678901234567-01"),
            format!("00-{TRACE}-1234567890123456-.0"),
            format!("00-{TRACE}-1234567890123456-0."),
            format!("00-{TRACE}-1234567890123456-001"),
            format!("00-{TRACE}-1234567890123456-1"),
            format!("00_{TRACE}-1234567890123456-01"),
            format!("00-{TRACE}-é34567890123456-01"),
        ];
        for text in cases {
            assert_eq!(parent(&text), None, "{text}");
        }
        let valid = format!("00-{TRACE}-1234567890123456-01");
        assert_eq!(TraceContext::from_headers([valid.as_str(); 2], []), None);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for text in [
            format!("cc-{TRACE}-1234567890123456-01"),
            format!("cc-{TRACE}-1234567890123456-01-what-the-future-will-be-like"),
            format!("\t 00-{TRACE}-1234567890123456-ff "),
        ] {
            let context = parent(&text).expect("valid");
            assert_eq!(
                context.traceparent(),
                format!("00-{TRACE}-1234567890123456-01")
            );
        }
    }

    /// The cases of the W3C's own test suite for `tracestate`.
    #[test]
    fn states_are_joined_or_left_out() {
        let long = format!("{}=1", "z".repeat(256));
        let tenant = format!("{}@{}=1", "t".repeat(241), "v".repeat(14));
        let many: Vec<String> = (0..32).map(|n| format!("bar{n:02}=1")).collect();
        for (headers, expected) in [
            (vec!["foo=1,bar=2"], "foo=1,bar=2"),
            (vec!["foo=1", "bar=2"], "foo=1,bar=2"),
            (vec!["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
            (vec!["foo=1,", "", ",bar=2"], "foo=1,bar=2"),
            (vec!["0foo@bar=1"], "0foo@bar=1"),
            (vec!["foo= a b"], "foo= a b"),
            (vec![&long], &long),
            (vec![&tenant], &tenant),
            (vec![&many.join(",")], &many.join(",")),
        ] {
            assert_eq!(state(&headers), expected);
        }
        let too_long = format!("{}=1", "z".repeat(257));
        let long_tenant = format!("{}@v=1", "t".repeat(242));
        let long_system = format!("t@{}=1", "v".repeat(15));
        let too_many = format!("{},more=1", many.join(","));
        for header in [
            "foo =1",
            "FOO=1",
            "foo.bar=1",
            "foo@=1,bar=2",
            "@foo=1",
            "foo@@bar=1",
            "foo@bar@baz=1",
            "foo=1,foo=1",
            "foo=bar=baz",
            "foo=",
            "foo=,bar=3",
            "foo",
            "0foo=1",
            "foo=\u{1}",
            &too_long,
            &long_tenant,
            &long_system,
            &too_many,
        ] {
            assert_eq!(state(&[header]), "", "{header}");
        }
    }

    #[test]
    fn new_traces_differ() {
        let ids: BTreeSet<_> = (0..1000)
            .map(|_| TraceContext::root(true).trace_id)
            .collect();
        assert_eq!(ids.len(), 1000);
        let root = TraceContext::root(false);
        assert_eq!(parent(&root.traceparent()), Some(root));
    }
}
