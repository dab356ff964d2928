declare module 'alga:extension/config@1.0.0' {
  /**
   * The value of `key`, or none when the install does not set it.
   */
  export function get(key: string): string | undefined;
  /**
   * All keys and values, sorted by key.
   */
  export function entries(): Array<[string, string]>;
  /**
   * # Variants
   * 
   * ## `"denied"`
   * 
   * ## `"internal"`
   */
  export type ConfigError = 'denied' | 'internal';
}
