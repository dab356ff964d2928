import type { ThemeTokens } from './protocol.js';

/**
 * Sets the host's theme as CSS custom properties. Only names that start with `--alga-` are set, so
 * that a host cannot restyle what is the extension's own.
 */
export function applyTheme(
  theme: ThemeTokens,
  element: HTMLElement = document.documentElement,
): void {
  for (const [name, value] of Object.entries(theme)) {
    if (name.startsWith('--alga-')) element.style.setProperty(name, value);
  }
}
