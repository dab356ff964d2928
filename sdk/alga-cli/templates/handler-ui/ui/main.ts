import { applyTheme, callHandlerJson, IframeBridge } from '@alga/extension-iframe-sdk';

interface Counter {
  value: number;
}

const bridge = new IframeBridge();
const value = document.querySelector<HTMLOutputElement>('#value');
const button = document.querySelector<HTMLButtonElement>('#count');
const problem = document.querySelector<HTMLElement>('#problem');

async function show(answer: Promise<Counter | undefined>): Promise<void> {
  try {
    const counter = await answer;
    if (value) value.textContent = String(counter?.value ?? 0);
    if (problem) problem.textContent = '';
  } catch (error) {
    if (problem) problem.textContent = error instanceof Error ? error.message : String(error);
  }
}

bridge.subscribeTheme((theme) => applyTheme(theme));
button?.addEventListener('click', () => {
  void show(callHandlerJson<Counter>(bridge, '/counter', { body: { by: 1 } }));
});

await bridge.ready();
if (button) button.disabled = false;
await show(callHandlerJson<Counter>(bridge, '/counter'));
// The root element is never lower than the frame; the body is as high as what is in it.
bridge.resize(document.body.getBoundingClientRect().bottom + 24);
