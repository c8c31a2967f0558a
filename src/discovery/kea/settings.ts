import { Type } from 'typebox'

const Path = (description: string) =>
  Type.Optional(Type.String({ pattern: '^/.{1,200}$', description }))

/** What can be set of the driver `kea`. */
export const keaSettings = Type.Object(
  {
    database_url: Type.Optional(
      Type.String({
        pattern: '^postgres(ql)?://',
        description: "URL of Kea's own PostgreSQL database, for this server alone.",
      }),
    ),
    database_url_file: Path('File with that URL, in place of `database_url`.'),
    run: Type.Boolean({
      default: false,
      description:
        'Whether kea-dhcp4 and kea-dhcp6 are started in the namespaces of the networks, and watched. Else those are fed that run.',
    }),
    dhcp4_socket: Path('Control socket of the kea-dhcp4 that is fed.'),
    dhcp6_socket: Path('Control socket of the kea-dhcp6 that is fed.'),
    failures_folder: Path(
      'Folder to which a Kea that is fed may write, and from which Melange reads, what asked for an address in vain. Without it unknown clients get none.',
    ),
    programs_folder: Type.String({
      pattern: '^/.{0,200}$',
      default: '/usr/sbin',
      description: 'Where kea-dhcp4 and kea-dhcp6 are, if they are to be run.',
    }),
    hooks_folder: Path("Folder of Kea's hook libraries, if they are not where Debian has them."),
  },
  { additionalProperties: false, default: {}, description: 'How the driver `kea` finds Kea.' },
)
