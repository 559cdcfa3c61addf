/** Tables in the documents that a test generates. The test fails if the document contains another one. */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';

/**
 * Compares the table between the comments `<!-- NAME -->` and `<!-- /NAME -->` of a document with these rows, the first
 * of which is the header. Versions may differ: they are those of the run that wrote it. UPDATE_DOCS=1 writes the table.
 */
export function expectDocumented(document: URL, name: string, rows: readonly (readonly string[])[]): void {
  const [head = [], ...body] = rows;
  const table = [head, head.map(() => '---'), ...body].map(cells => `| ${cells.join(' | ')} |\n`).join('');
  const text = readFileSync(document, 'utf8');
  const place = new RegExp(`(<!-- ${name} -->\n)([^]*?)(<!-- /${name} -->)`);
  const [, open, documented, close] = place.exec(text) ?? [];
  expect(documented, `The table ${name} has a place in ${document}`).toBeDefined();
  if (process.env.UPDATE_DOCS === '1')
    writeFileSync(
      document,
      text.replace(place, () => `${open}\n${table}\n${close}`),
    );
  else
    expect(withoutVersions(documented), `UPDATE_DOCS=1 writes ${document} anew`).toBe(
      withoutVersions(`\n${table}\n`),
    );
}

function withoutVersions(table: string | undefined): string | undefined {
  return table?.replace(/\d+\.\d+\.\d+/g, 'VERSION');
}
