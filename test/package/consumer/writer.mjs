/** Adds users one after the other, and prints each name when its edit is acknowledged. */
import { PasswordFile } from 'mosquitto-passwd-ts';

const [path, name, edits] = process.argv.slice(2);
const file = new PasswordFile(path);
for (let number = 0; number < Number(edits); number++) {
  await file.addUser(`${name}-${number}`, 'battery staple');
  console.log(`${name}-${number}`);
}
