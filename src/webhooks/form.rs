//! Webhooks that are sent as a form: `payload=` and the payload, percent-encoded.

/// The payload of a form, which takes no more room than the form did.
///
/// # Errors
/// When the form has another field, or is none.
pub fn payload_of_form(mut form: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    const NAME: &[u8] = b"payload=";
    if !form.starts_with(NAME) || form.contains(&b'&') {
        return Err("the form must have the field payload, and no other");
    }
    let mut written = 0;
    let mut at = NAME.len();
    while let Some(byte) = form.get(at).copied() {
        let (byte, length) = match byte {
            b'+' => (b' ', 1),
            b'%' => (escaped(form.get(at + 1..at + 3)).ok_or("the form has a % without two hex digits behind it")?, 3),
            other => (other, 1),
        };
        form[written] = byte;
        written += 1;
        at += length;
    }
    form.truncate(written);
    Ok(form)
}

fn escaped(digits: Option<&[u8]>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low] = digits? else { return None };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::payload_of_form;

    #[test]
    fn a_form_is_one_payload() {
        for (form, payload) in [
            ("payload=%7B%22a%22%3A+1%7D", Ok("{\"a\": 1}")),
            ("payload=", Ok("")),
            ("payload={\"a\":\"=\"}", Ok("{\"a\":\"=\"}")),
            ("payload=%7b%7d", Ok("{}")),
            ("", Err("the form must have the field payload, and no other")),
            ("payload", Err("the form must have the field payload, and no other")),
            ("a=1&payload={}", Err("the form must have the field payload, and no other")),
            ("payload={}&payload={}", Err("the form must have the field payload, and no other")),
            ("Payload={}", Err("the form must have the field payload, and no other")),
            ("payload=%", Err("the form has a % without two hex digits behind it")),
            ("payload=%7", Err("the form has a % without two hex digits behind it")),
            ("payload=%zz", Err("the form has a % without two hex digits behind it")),
            ("payload=%+1", Err("the form has a % without two hex digits behind it")),
        ] {
            assert_eq!(payload_of_form(form.as_bytes().to_vec()), payload.map(|text| text.as_bytes().to_vec()), "{form}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in ".*") {
            let form: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &text).finish();
            prop_assert_eq!(payload_of_form(form.into_bytes()), Ok(text.into_bytes()));
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = payload_of_form([b"payload=", bytes.as_slice()].concat());
        }
    }
}
