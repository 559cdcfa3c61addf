/** The ASCII codes of characters that have a meaning in a password file. */
export const NUL = 0;
export const LF = 10;
export const CR = 13;
export const SPACE = 32;
export const HASH_SIGN = 35;
export const DOLLAR = 36;
export const ZERO = 48;
export const SEVEN = 55;
export const COLON = 58;
export const EQUALS = 61;
export const TILDE = 126;
