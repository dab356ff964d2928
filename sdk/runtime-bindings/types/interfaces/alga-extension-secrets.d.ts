declare module 'alga:extension/secrets@1.0.0' {
  export function get(key: string): string;
  /**
   * Names of the secrets that are set, sorted.
   */
  export function listKeys(): Array<string>;
  /**
   * # Variants
   * 
   * ## `"missing"`
   * 
   * ## `"denied"`
   * 
   * ## `"expired"`
   * 
   * ## `"internal"`
   */
  export type SecretError = 'missing' | 'denied' | 'expired' | 'internal';
}
