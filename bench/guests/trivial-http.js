// The same handler for wasi:http, as `wasmtime serve` runs it.
addEventListener('fetch', (event) => {
  const status = new URL(event.request.url).pathname.startsWith('/') ? 200 : 400;
  const headers = { 'content-type': 'application/json' };
  event.respondWith(new Response('{"ok":true}', { status, headers }));
});
