declare module 'alga:extension/ui-proxy@1.0.0' {
  /**
   * POST with the payload as JSON when there is one, else GET.
   */
  export function callRoute(route: string, payload: Uint8Array | undefined): Uint8Array;
  /**
   * # Variants
   * 
   * ## `"route-not-found"`
   * 
   * ## `"denied"`
   * 
   * ## `"bad-request"`
   * 
   * ## `"internal"`
   */
  export type ProxyError = 'route-not-found' | 'denied' | 'bad-request' | 'internal';
}
