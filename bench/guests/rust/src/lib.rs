//! The handler of trivial.js in Rust.

wit_bindgen::generate!({ path: "../../../wit/extension-runner.wit", world: "runner", generate_all });

use alga::extension::types::HttpHeader;

struct Trivial;

impl Guest for Trivial {
    fn handler(request: ExecuteRequest) -> ExecuteResponse {
        let status = if request.http.url.starts_with('/') { 200 } else { 400 };
        let header = HttpHeader { name: "content-type".into(), value: "application/json".into() };
        ExecuteResponse { status, headers: vec![header], body: Some(br#"{"ok":true}"#.to_vec()) }
    }
}

export!(Trivial);
