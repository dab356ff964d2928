import { applyTheme, callHandlerJson, IframeBridge } from '@alga/extension-iframe-sdk';

const bridge = new IframeBridge();
bridge.subscribeTheme((theme) => {
  applyTheme(theme);
});
await bridge.ready();
const answer = await callHandlerJson<{ greeting: string }>(bridge, '/greeting');
const paragraph = document.querySelector('#greeting');
if (paragraph) paragraph.textContent = answer?.greeting ?? '';
// The root element is never lower than the frame; the body is as high as what is in it.
bridge.resize(document.body.getBoundingClientRect().bottom + 24);
