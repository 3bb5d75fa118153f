//! What stands inside a `data:` address.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use url::Url;

const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// The media type, without parameters and in lower case, and the content as text.
pub(super) fn read(url: &Url) -> Option<(String, String)> {
    if url.scheme() != "data" {
        return None;
    }
    let mut whole = url.clone();
    whole.set_fragment(None);
    let (head, body) = whole.as_str().strip_prefix("data:")?.split_once(',')?;
    let mut bytes = percent_decode(body);
    let packed = head.trim_end().to_ascii_lowercase();
    if packed.strip_suffix("base64").is_some_and(|rest| rest.trim_end().ends_with(';')) {
        bytes.retain(|b| !b.is_ascii_whitespace());
        bytes = FORGIVING.decode(&bytes).ok()?;
    }
    let kind = head.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some((kind, super::decode(&bytes, Some(head)).into_owned()))
}

/// The bytes behind `%XX`; what is no escape stays.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (bytes[at], digit(1), digit(2)) {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::read;
    use url::Url;

    #[test]
    fn data_addresses_are_read() {
        let table = [
            ("data:text/css,a%7Bb%7D", Some(("text/css", "a{b}"))),
            ("data:TEXT/CSS;base64,YXt9", Some(("text/css", "a{}"))),
            ("data:text/css;charset=utf-8;base64,YXt9%20#x", Some(("text/css", "a{}"))),
            ("data:text/css; base64,YQ", Some(("text/css", "a"))),
            ("data:,x%", Some(("", "x%"))),
            ("data:text/css;base64,!!", None),
            ("data:text/css", None),
            ("https://a/", None),
        ];
        for (url, wanted) in table {
            let seen = read(&Url::parse(url).unwrap());
            assert_eq!(seen.as_ref().map(|(kind, text)| (kind.as_str(), text.as_str())), wanted, "{url}");
        }
    }
}
