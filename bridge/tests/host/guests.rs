//! Guests made from core WebAssembly text and the WIT of the product: small, exact, quick to compile.

use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Asked when the tests run: a program that another checkout left in the target folder would name that checkout.
pub fn repository() -> PathBuf {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    PathBuf::from(crate_folder).join("..")
}

fn wit(path: &str) -> String {
    std::fs::read_to_string(repository().join("wit").join(path)).expect("the contract is there")
}

fn wasi() -> String {
    let path = repository().join("tests/guests/wasi.wit");
    std::fs::read_to_string(path).expect("what guests know of WASI")
}

/// Memory, a bump allocator and the layout of the answer: what every text guest needs.
const RUNTIME: &str = r#"
    (memory (export "memory") 2)
    (global $heap (mut i32) (i32.const 65536))
    (func $realloc (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
        (global.set $heap (i32.add (local.get $at) (local.get $len)))
        (block $enough
            (br_if $enough (i32.ge_u (i32.mul (memory.size) (i32.const 65536)) (global.get $heap)))
            (drop (memory.grow (i32.add (i32.shr_u (local.get $len) (i32.const 16)) (i32.const 1)))))
        (local.get $at))
    (func $answer (param $status i32) (param $body i32) (param $len i32) (result i32)
        (i32.store16 (i32.const 1024) (local.get $status))
        (i32.store (i32.const 1028) (i32.const 0))
        (i32.store (i32.const 1032) (i32.const 0))
        (i32.store8 (i32.const 1036) (i32.const 1))
        (i32.store (i32.const 1040) (local.get $body))
        (i32.store (i32.const 1044) (local.get $len))
        (i32.const 1024))
"#;

/// A guest whose handler has `body`: it finds its request behind `$request` and leaves the address
/// of its answer. `imports` are names of interfaces, `fields` go before the runtime (imports of
/// functions first, as the text format wants it).
pub fn guest(package: &str, imports: &[&str], fields: &str, body: &str) -> Vec<u8> {
    let contract =
        if package.contains('@') { "extension-runner.wit" } else { "compat/extension-runner.wit" };
    guest_of(&wit(contract), package, imports, fields, body)
}

/// The same for a contract given as text.
pub fn guest_of(
    contract: &str,
    package: &str,
    imports: &[&str],
    fields: &str,
    body: &str,
) -> Vec<u8> {
    let version = package.split_once('@').map_or(String::new(), |(_, v)| format!("@{v}"));
    let mut world = format!(
        "package test:guest;\nworld guest {{\n  use alga:extension/types{version}.{{execute-request, execute-response}};\n"
    );
    for import in imports {
        world.push_str(&format!("  import {import};\n"));
    }
    world.push_str("  export handler: func(request: execute-request) -> execute-response;\n}\n");

    let module = format!(
        "(module {fields} {RUNTIME} (func (export \"handler\") (param $request i32) (result i32) {body}))"
    );
    encode(&[contract, &wasi(), &world], "guest", &module)
}

fn encode(packages: &[&str], world: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let mut last = None;
    for (i, text) in packages.iter().enumerate() {
        last = Some(resolve.push_str(format!("package-{i}.wit"), text).expect("valid WIT"));
    }
    let world = resolve.select_world(&[last.expect("a package")], Some(world)).expect("the world");
    let mut module = wat::parse_str(module).expect("valid WebAssembly text");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("fits");
    ComponentEncoder::default()
        .module(&module)
        .expect("a module")
        .validate(true)
        .encode()
        .expect("a component")
}

/// Polls a list that names one handle, which is ready, that many times, and answers what was ready.
pub fn poll_repeated(times: u32) -> Vec<u8> {
    let fields = r#"
        (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $subscribe (param i64) (result i32)))
        (import "wasi:io/poll@0.2.3" "poll" (func $poll (param i32 i32 i32)))"#;
    let body = format!(
        "(local $i i32) (local $handle i32)
        (drop (memory.grow (i32.const {})))
        (local.set $handle (call $subscribe (i64.const 0)))
        (loop $l
            (i32.store (i32.add (i32.const 131072) (i32.mul (local.get $i) (i32.const 4))) (local.get $handle))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const {times}))))
        (call $poll (i32.const 131072) (i32.const {times}) (i32.const 512))
        (call $answer (i32.const 200) (i32.load (i32.const 512)) (i32.mul (i32.load (i32.const 516)) (i32.const 4)))",
        times / 16_384 + 1
    );
    guest(V1, &["wasi:clocks/monotonic-clock@0.2.3", "wasi:io/poll@0.2.3"], fields, &body)
}

pub const V1: &str = "alga:extension@1.0.0";
pub const COMPAT: &str = "alga:extension";

/// A guest of the current contract without imports.
pub fn plain(body: &str) -> Vec<u8> {
    guest(V1, &[], "", body)
}

/// Answers 200 with the body of the request: its address lies at 80, its length at 84.
pub const ECHO: &str = "(call $answer (i32.const 200) (i32.load offset=80 (local.get $request)) (i32.load offset=84 (local.get $request)))";

/// A component built by `tests/guests/build.sh`; the tests that use one are `#[ignore]`d, because
/// building it takes the npm registry.
pub fn javascript(name: &str) -> Vec<u8> {
    let directory = std::env::var("ALGA_GUESTS")
        .expect("set ALGA_GUESTS to the output directory of tests/guests/build.sh");
    std::fs::read(Path::new(&directory).join(format!("{name}.wasm"))).expect("a built guest")
}
