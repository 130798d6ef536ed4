// aedes as Node-RED has it: sessions and messages in memory, gone with the process.
const port = Number(process.argv[2]);
const aedes = require('aedes')();
require('net').createServer(aedes.handle).listen(port, '127.0.0.1');
