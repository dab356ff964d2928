/// <reference path="./alga-extension-types.d.ts" />
declare module 'alga:extension/context@1.0.0' {
  export function getContext(): ContextData;
  /**
   * Milliseconds of wall-clock time left before the host ends this execution.
   */
  export function remainingTimeMs(): number;
  export type ContextData = import('alga:extension/types@1.0.0').ContextData;
}
