// Copies a file in one of Node's ways: node copies.js WAY SOURCE DESTINATION
const fs = require("fs");
const { pipeline } = require("stream/promises");
const [way, source, destination] = process.argv.slice(2);
const ways = {
  copyFileSync: () => fs.copyFileSync(source, destination),
  copyFile: () => fs.promises.copyFile(source, destination),
  readFileSync: () => fs.writeFileSync(destination, fs.readFileSync(source)),
  readFile: async () => fs.writeFileSync(destination, await fs.promises.readFile(source)),
  stream: () => pipeline(fs.createReadStream(source), fs.createWriteStream(destination)),
};
Promise.resolve(ways[way]()).catch((error) => {
  console.error(error);
  process.exit(1);
});
