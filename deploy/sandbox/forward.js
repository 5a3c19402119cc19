// What comes to a port of the container's loopback goes to the recorder's socket: the only way out.
const net = require("node:net");
const [port, socket] = process.argv.slice(2);

net
  .createServer({ noDelay: true }, (inside) => {
    const outside = net.connect(socket);
    inside.pipe(outside).pipe(inside);
    inside.on("error", () => outside.destroy());
    outside.on("error", () => inside.destroy());
  })
  .listen(Number(port), "127.0.0.1");
