/**
 * A stand-in for the host application: embeds an extension's page in a sandboxed iframe and speaks
 * the host's side of the iframe protocol (version 1): bootstrap, theme, resize, navigate, apiproxy.
 * Calls of the page go to this origin, which passes them to the handler.
 *
 * @param page absolute URL of the extension's page
 */
export function hostPage(page: string): string {
  const settings = JSON.stringify({ page }).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>alga dev: host page</title>
<link rel="icon" href="data:,">
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: #f3f4f6; color: #111827; }
  header { padding: 12px 24px; background: #111827; color: #f9fafb; display: flex; gap: 24px; }
  main { max-width: 960px; margin: 24px auto; padding: 0 24px; }
  iframe { width: 100%; border: 1px solid #d1d5db; border-radius: 8px; background: #fff; }
  output { display: block; color: #6b7280; font-size: 13px; margin-top: 8px; }
  button { font: inherit; }
</style>
</head>
<body>
<header><strong>Host application</strong> <button id="theme">Switch theme</button></header>
<main>
  <iframe id="extension" title="Extension" sandbox="allow-scripts allow-forms allow-same-origin" height="200"></iframe>
  <output id="status">waiting for the extension</output>
</main>
<script type="module">
const { page } = ${settings};
const frame = document.getElementById('extension');
const status = document.getElementById('status');
const target = new URL(page);
const themes = [
  { '--alga-background': '#ffffff', '--alga-foreground': '#111827', '--alga-primary': '#4f46e5' },
  { '--alga-background': '#111827', '--alga-foreground': '#f9fafb', '--alga-primary': '#a5b4fc' },
];
let theme = 0;

function send(type, payload, requestId) {
  const message = { alga: true, version: '1', type, payload };
  if (requestId !== undefined) message.request_id = requestId;
  frame.contentWindow.postMessage(message, target.origin);
}

async function proxy({ route, body, method }, requestId) {
  try {
    if (typeof route !== 'string' || !route.startsWith('/')) throw new Error('bad route');
    const options = { method: method ?? (body === undefined ? 'GET' : 'POST') };
    if (body !== undefined) {
      options.body = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
      options.headers = { 'content-type': 'application/json' };
    }
    const answer = await fetch(route, options);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    if (!answer.ok) throw new Error('the handler answered ' + answer.status);
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    send('apiproxy_response', { body: btoa(text) }, requestId);
  } catch (error) {
    send('apiproxy_response', { error: error.message }, requestId);
  }
}

window.addEventListener('message', ({ source, origin, data }) => {
  if (source !== frame.contentWindow || origin !== target.origin) return;
  if (data?.alga !== true || data.version !== '1') return;
  const { type, payload, request_id: requestId } = data;
  if (type === 'ready') {
    const expires = new Date(Date.now() + 3600e3).toISOString();
    const session = { token: 'development', expires_at: expires };
    send('bootstrap', { session, theme_tokens: themes[theme], navigation: { path: '/' } });
    status.textContent = 'the extension is ready';
  } else if (type === 'resize') {
    frame.height = Math.min(4000, Math.max(100, Math.ceil(payload.height)));
  } else if (type === 'navigate') {
    status.textContent = 'navigate to ' + payload.path;
  } else if (type === 'apiproxy') {
    void proxy(payload, requestId);
  }
});

document.getElementById('theme').addEventListener('click', () => {
  theme = (theme + 1) % themes.length;
  send('theme', themes[theme]);
});

target.searchParams.set('parentOrigin', location.origin);
frame.src = target.href;
</script>
</body>
</html>
`;
}
