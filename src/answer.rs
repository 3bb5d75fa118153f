//! The body of an HTTP answer, read no further than it may be long.

use reqwest::Response;

/// The body of `answer`, or nothing if it is longer than `most` bytes: then at most so many were read, and none where it says so itself.
///
/// # Errors
/// When the connection breaks.
pub async fn whole(mut answer: Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    if answer.content_length().is_some_and(|length| length > most as u64) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if bytes.len() + chunk.len() > most {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// The beginning of the body of `answer`, at most `most` bytes.
///
/// # Errors
/// When the connection breaks.
pub async fn beginning(mut answer: Response, most: usize) -> reqwest::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < most
        && let Some(chunk) = answer.chunk().await?
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(most - bytes.len())]);
    }
    Ok(bytes)
}
