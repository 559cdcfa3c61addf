/** Lines of a password file that show who wrote them: their hashes belong to no password, and contain two numbers. */

/** A well-formed hash that contains the number of its writer and of the write. */
export function stamp(writer: number, writing: number): string {
  const salt = Buffer.alloc(12);
  salt.writeUInt32BE(writer, 0);
  salt.writeUInt32BE(writing, 4);
  return `$7$101$${salt.toString('base64')}$${Buffer.alloc(64, salt).toString('base64')}`;
}

/** `<prefix>0` and so on, each with a hash. */
export function stampedLines(prefix: string, count: number): string {
  let lines = '';
  for (let n = 0; n < count; n++) lines += `${prefix}${n}:${stamp(0, n)}\n`;
  return lines;
}
