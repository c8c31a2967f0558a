/** The first of the sockets that are handed over (sd_listen_fds(3)). */
const firstFd = 3

/**
 * Sockets that whoever started this process bound to interfaces: file descriptors by the names that
 * they were given, which are those of the interfaces. systemd hands them over (systemd.socket(5),
 * FileDescriptorName=, BindToDevice=).
 */
export function inheritedSockets(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  pid: number = process.pid,
): ReadonlyMap<string, number> {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = environment
  if (Number(LISTEN_PID) !== pid) return new Map()
  const names = LISTEN_FDNAMES.split(':').slice(0, Number(LISTEN_FDS))
  return new Map(names.map((name, index) => [name, firstFd + index]))
}
