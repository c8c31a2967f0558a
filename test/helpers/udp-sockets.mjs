// Sends and receives UDP packets for a test that is in another network namespace: packet-client.ts
// starts it and talks to it. Arguments: a device, then ports as `4:68` or `6:546`.
import dgram from 'node:dgram'

const [device, ...places] = process.argv.slice(2)
const sockets = new Map()

for (const place of places) {
  const [version, port] = place.split(':')
  const socket = dgram.createSocket({ type: `udp${version}`, reuseAddr: true })
  await new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(Number(port), resolve)
  })
  if (version === '4') socket.setBroadcast(true)
  socket.on('message', (bytes, { address, port: source }) => {
    process.send?.({ place, from: { address, port: source }, hex: bytes.toString('hex') })
  })
  sockets.set(place, socket)
}

process.on('message', ({ place, to, hex }) => {
  const address = to.address.startsWith('ff') ? `${to.address}%${device}` : to.address
  sockets.get(place).send(Buffer.from(hex, 'hex'), to.port, address, error => {
    if (error) process.send?.({ place, error: error.message })
  })
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: true })
