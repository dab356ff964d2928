declare module 'alga:extension/user@1.0.0' {
  export function getUser(): UserData;
  /**
   * # Variants
   * 
   * ## `"not-available"`
   * 
   * ## `"not-allowed"`
   */
  export type UserError = 'not-available' | 'not-allowed';
  export interface UserData {
    tenantId: string,
    clientName: string,
    userId: string,
    userEmail: string,
    userName: string,
    /**
     * `internal` or `client`.
     */
    userType: string,
    clientId?: string,
    /**
     * Sorted by name.
     */
    additionalFields: Array<[string, string]>,
  }
}
