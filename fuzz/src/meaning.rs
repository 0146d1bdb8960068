//! What a selecting field means, read from the letter of RFC 9110 and in another way than the product reads it.

use http::HeaderMap;

/// What one field of a request says; two requests say the same if these are equal.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// The field is not there.
    Absent,
    /// Its members in an order that counts.
    List(Vec<Vec<u8>>),
    /// Its members in any order.
    Preferences(Vec<Preference>),
}

/// A member of a list of preferences (RFC 9110 section 12.4.2).
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preference {
    /// A name, whose case means nothing, with its weight in thousandths.
    Weighted(String, u16),
    /// It is none; nobody knows what an origin makes of it, so that it is like nothing but itself.
    Malformed(Vec<u8>),
}

/// The meaning of a field.
pub fn meaning(name: &str, request: &HeaderMap) -> Meaning {
    // Section 5.3: several fields are one list.
    let lines: Vec<&[u8]> = request.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Meaning::Absent;
    }
    let whole = lines.join(&b", "[..]);
    if name != "accept-encoding" && name != "accept-language" {
        return Meaning::List(split(&whole));
    }
    let members = whole.split(|&b| b == b',').map(trimmed).filter(|member| !member.is_empty());
    let mut preferences: Vec<Preference> = members.map(preference).collect();
    preferences.sort();
    Meaning::Preferences(preferences)
}

/// The members of a list; a comma or white space inside a quoted string belongs to it (section 5.6.4).
fn split(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut members = vec![Vec::new()];
    let mut bytes = whole.iter().copied();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b',' if !quoted => members.push(Vec::new()),
            _ => {
                quoted ^= byte == b'"';
                let escaped = if byte == b'\\' && quoted { bytes.next() } else { None };
                members.last_mut().expect("the first is there").extend([byte].into_iter().chain(escaped));
            }
        }
    }
    members.iter().map(|member| trimmed(member).to_vec()).filter(|member| !member.is_empty()).collect()
}

fn preference(member: &[u8]) -> Preference {
    weighted(member).unwrap_or_else(|| Preference::Malformed(member.to_vec()))
}

fn weighted(member: &[u8]) -> Option<Preference> {
    let text = std::str::from_utf8(member).ok()?;
    let (name, weight) = match text.split_once(';') {
        Some((name, weight)) => (name.trim_matches([' ', '\t']), Some(weight.trim_matches([' ', '\t']))),
        None => (text, None),
    };
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return None;
    }
    let thousandths = match weight {
        None => 1000,
        Some(weight) => qvalue(weight.strip_prefix(['q', 'Q'])?.strip_prefix('=')?)?,
    };
    Some(Preference::Weighted(name.to_ascii_lowercase(), thousandths))
}

/// `0`, `1` and up to three digits behind the point.
fn qvalue(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{digits:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}
