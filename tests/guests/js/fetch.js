// A guest that uses the fetch() of the web platform, which is wasi:http underneath.
export async function handler(request) {
  const url = new URL(request.http.url, 'http://guest');
  const target = url.searchParams.get('url') ?? 'https://api.example.test/data';
  const init = { method: url.searchParams.get('method') ?? 'GET', headers: { 'x-from': 'guest' } };
  if (request.http.body) init.body = request.http.body;
  let outcome;
  try {
    const response = await fetch(target, init);
    outcome = { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
  } catch (error) {
    outcome = { failed: String(error) };
  }
  const body = new TextEncoder().encode(JSON.stringify(outcome));
  return { status: 200, headers: [], body };
}
