//! The handler of the extension. `alga build` writes the world for the manifest's capabilities
//! into `.alga/wit` before it calls cargo.

wit_bindgen::generate!({ path: ".alga/wit", world: "extension", generate_all });

use alga::extension::logging::{log, LogLevel};
use alga::extension::types::HttpHeader;

struct Extension;

impl Guest for Extension {
    fn handler(request: ExecuteRequest) -> ExecuteResponse {
        let path = request.http.url.split('?').next().unwrap_or_default();
        log(LogLevel::Info, &format!("{} {path}", request.http.method));
        match path {
            "/hello" => answer(200, r#"{"hello":"world","from":"Rust"}"#),
            _ => answer(404, r#"{"error":"not found"}"#),
        }
    }
}

fn answer(status: u16, body: &str) -> ExecuteResponse {
    let header = HttpHeader { name: "content-type".into(), value: "application/json".into() };
    ExecuteResponse { status, headers: vec![header], body: Some(body.into()) }
}

export!(Extension);
