//! The files that pages use. They are compiled into the program, and their names carry their content's hash, so that a browser keeps each
//! for good and never uses an old one.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web;
use sha2::Digest as _;
use sha2::Sha256;

use crate::http::Shared;

/// A file of pages.
struct Asset {
    /// Its name in the source.
    name: &'static str,
    /// Its name in addresses: the hash stands before the ending.
    served_as: String,
    kind: &'static str,
    content: &'static [u8],
}

/// How many hex digits of a hash stand in a name.
const HASH_DIGITS: usize = 16;

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let css = "text/css; charset=utf-8";
    let js = "text/javascript; charset=utf-8";
    vec![
        asset("style.css", css, include_bytes!("assets/style.css")),
        asset("theme.js", js, include_bytes!("assets/theme.js")),
        asset("page.js", js, include_bytes!("assets/page.js")),
        asset("log.css", css, include_bytes!("assets/log.css")),
        asset("log.js", js, include_bytes!("assets/log.js")),
        asset("mark.svg", "image/svg+xml", include_bytes!("assets/mark.svg")),
    ]
});

fn asset(name: &'static str, kind: &'static str, content: &'static [u8]) -> Asset {
    let hash = text::hex(&Sha256::digest(content));
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    Asset { name, served_as: format!("{stem}-{}.{ending}", &hash[..HASH_DIGITS]), kind, content }
}

/// The address of the file `name`. A name that is none leads to an address that is answered 404; a test asks for every address of every page.
pub(in crate::http) fn href(name: &str) -> String {
    let served_as = ASSETS.iter().find(|asset| asset.name == name).map_or(name, |asset| &asset.served_as);
    format!("/assets/{served_as}")
}

/// `GET /assets/{file}`.
pub(in crate::http) async fn show(file: web::Path<String>, _: web::Data<Shared>) -> HttpResponse {
    match ASSETS.iter().find(|asset| asset.served_as == *file) {
        Some(asset) => HttpResponse::Ok()
            .content_type(asset.kind)
            .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
            .body(asset.content),
        None => HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("There is no such file.\n"),
    }
}
