import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import { createFloatingWorld } from '../helpers/floating-world.ts'
import { createGrantWorld } from '../helpers/grant-world.ts'
import { createInterfaceWorld } from '../helpers/interface-world.ts'
import { createLeaseWorld } from '../helpers/lease-world.ts'
import { startLoad } from '../helpers/race-load.ts'
import { createWorld } from '../helpers/race-world.ts'
import { createRuledWorld } from '../helpers/ruled-world.ts'
import { cleanUp, runAudit, ServerProcess, settingsFile } from '../helpers/server-process.ts'

type Damage = {
  readonly what: string
  readonly sql: string
  /** The checks that must name it, among others. */
  readonly named: readonly string[]
}

const single = 'select * from allocations where not is_prefix order by id limit 1'
const ended = 'select * from allocation_history where not is_prefix order by id limit 1'
const waiting = 'select * from quarantine order by allocation_id limit 1'
const parent = `select b.* from blocks b join block_usage u on u.block_id = b.id
  where u.in_children > 0 order by b.id limit 1`
/** A copy of an allocation that somebody else holds. */
const copied = `block_id, address, project_id, started_at`

const damages: readonly Damage[] = [
  {
    what: 'a block has a route of another IP version',
    sql: `insert into block_routes (id, block_id, destination, gateway)
          select gen_random_uuid(), id, '2001:db8::/32', '2001:db8::1'
          from blocks where family(cidr) = 4 limit 1`,
    named: ['route of another IP version than its block'],
  },
  {
    what: 'a DHCP option is there without its event',
    sql: `insert into dhcp_options (id, block_id, version, code, value)
          select gen_random_uuid(), id, 4, 26, '1500' from blocks limit 1`,
    named: ['I9 change without its event'],
  },
  {
    what: 'an interface that follows no addresses is on no network',
    sql: `alter table interfaces drop constraint interfaces_check;
          insert into interfaces (id, project_id, attached_at)
          values (gen_random_uuid(), 'p', now())`,
    named: ['I13 interface on no network', 'I9 change without its event'],
  },
  {
    what: 'a free range is deleted',
    sql: 'delete from free_ranges where ctid = (select ctid from free_ranges limit 1)',
    named: ['I3 space lost or used twice'],
  },
  {
    what: 'an address that is held is free, too',
    sql: `insert into free_ranges (block_id, first, last)
          select block_id, address, address from (${single}) a`,
    named: ['I3 space lost or used twice'],
  },
  {
    what: 'a free range reaches into the next one',
    sql: `update free_ranges f set first = first - 1
          where (block_id, first - 1) in (select block_id, address from allocations)`,
    named: ['I3 space lost or used twice'],
  },
  {
    what: 'a free range is kept in two parts',
    sql: `with cut as (
            update free_ranges set first = first + 1
            where ctid = (select ctid from free_ranges where first < last limit 1)
            returning block_id, first - 1 as left_over, free_since)
          insert into free_ranges (block_id, first, last, free_since)
          select block_id, left_over, left_over, free_since from cut`,
    named: ['I3 free neighbours not joined'],
  },
  {
    what: 'a free range has lost its age',
    sql: `update free_ranges set free_since = null where free_since is not null`,
    named: ['I3 ages of free space'],
  },
  {
    what: 'more is counted as allocated',
    sql: `update block_usage set allocated = allocated + 1
          where block_id = (select block_id from block_usage where free > 0 and in_children = 0
                            limit 1)`,
    named: ['I3 counts'],
  },
  {
    what: 'less is counted as excluded',
    sql: `update block_usage set excluded = excluded - 1
          where block_id = (select block_id from block_usage where excluded > 0 limit 1)`,
    named: ['I3 counts'],
  },
  {
    what: 'more is counted as given to children',
    sql: `update block_usage set in_children = in_children + 1
          where block_id = (select id from (${parent}) p)`,
    named: ['I3 counts'],
  },
  {
    what: 'a gateway is changed by hand',
    sql: `update blocks set gateway_ip = (select address from (${single}) a)
          where id = (select block_id from (${single}) a)`,
    named: ['I3 rules out of date'],
  },
  {
    what: 'an allocation is moved to a free address',
    sql: `update allocations a set address = (
            select last from free_ranges f where f.block_id = a.block_id order by last desc limit 1)
          where id = (select s.id from (select * from allocations where not is_prefix) s
                      join free_ranges f using (block_id) limit 1)`,
    named: ['I3 space lost or used twice'],
  },
  {
    what: 'an allocation is moved to another block',
    sql: `update allocations a set block_id = (
            select id from blocks b where not b.cidr >>= a.address limit 1)
          where id = (select id from (${single}) a)`,
    named: ['I3 allocation outside its block', 'I3 counts'],
  },
  {
    what: 'an allocation is in a block that has children',
    sql: `insert into allocations (id, scope_id, ${copied})
          select gen_random_uuid(), scope_id, id, host(cidr)::inet, 'p', now() from (${parent}) p`,
    named: ['I3 block with children and allocations'],
  },
  {
    what: 'an address is held twice',
    sql: `alter table allocations drop constraint address_taken;
          insert into allocations (id, scope_id, ${copied})
          select gen_random_uuid(), scope_id, ${copied} from (${single}) a`,
    named: ['I1 address held twice', 'I3 space lost or used twice', 'I3 counts'],
  },
  {
    what: 'an address of a delegated prefix is held by another',
    sql: `insert into allocations (id, scope_id, ${copied})
          select gen_random_uuid(), scope_id, block_id, set_masklen(address, ${'case family(address) when 4 then 32 else 128 end'}) + 1, project_id, started_at
          from allocations where is_prefix limit 1`,
    named: ['I1 address held twice'],
  },
  {
    what: 'a current allocation is deleted without an end',
    sql: `delete from allocations where id = (select id from (${single}) a)`,
    named: ['I3 space lost or used twice', 'I3 counts', 'I4 allocation gone from the record'],
  },
  {
    what: 'the record of an ended allocation is deleted',
    sql: `delete from allocation_history where id = (select id from (${ended}) h)`,
    named: ['I4 allocation gone from the record'],
  },
  {
    what: 'an allocation is current and ended',
    sql: `insert into allocation_history
          select id, scope_id, block_id, address, project_id, owner_type, owner_id, name, tags,
            generation, started_at, is_prefix, now() from (${single}) a`,
    named: ['I4 allocation both current and ended'],
  },
  {
    what: 'two held an address at the same time',
    sql: `insert into allocation_history
          select gen_random_uuid(), scope_id, block_id, address, project_id, owner_type, owner_id,
            name, tags, generation, started_at, is_prefix, ended_at from (${ended}) h`,
    named: ['I4 address held by two at one time'],
  },
  {
    what: 'the holder of an address began before the holder before had ended',
    sql: `update allocation_history set ended_at = now() + interval '1 day'
          where id = (select h.id from allocation_history h
                      join allocations a using (scope_id, address) limit 1)`,
    named: ['I4 address held by two at one time'],
  },
  {
    what: 'an address was held while its prefix was',
    sql: `insert into allocation_history
          select gen_random_uuid(), scope_id, block_id, set_masklen(address, ${'case family(address) when 4 then 32 else 128 end'}), project_id, owner_type, owner_id, name, tags, generation, started_at, false, ended_at
          from allocation_history where is_prefix limit 1`,
    named: ['I4 address held by two at one time'],
  },
  {
    what: 'blocks of a scope overlap',
    sql: `alter table blocks drop constraint block_overlaps;
          insert into blocks (id, scope_id, parent_id, parent_cidr, cidr)
          select gen_random_uuid(), scope_id, parent_id, parent_cidr, cidr
          from blocks where parent_id is not null limit 1`,
    named: ['I2 siblings overlap'],
  },
  {
    what: 'a child lies outside its parent',
    sql: `alter table blocks drop constraint block_outside_parent;
          update blocks set cidr = '10.255.0.0/30'
          where id = (select id from blocks where parent_id is not null limit 1)`,
    named: ['I2 child outside its parent', 'I3 space lost or used twice'],
  },
  ...(['first', 'middle', 'last'] as const).map(place => ({
    what: `the ${place} event of an allocation is deleted`,
    sql: `delete from events where seq = (
            select seq from (
              select seq, row_number() over (w order by seq) as before,
                row_number() over (w order by seq desc) as behind
              from events where type like 'allocation.%' window w as (partition by object_id)) e
            where ${
              {
                first: 'before = 1 and behind > 1',
                middle: 'before > 1 and behind > 1',
                last: 'before > 1 and behind = 1',
              }[place]
            } limit 1)`,
    named: [place === 'last' ? 'I9 change without its event' : 'I9 events out of order'],
  })),
  ...(['allocations', 'ipv6_64s', 'blocks', 'floating_ips', 'interfaces'] as const).map(kind => ({
    what: `more ${kind} are counted for a project`,
    sql: `update project_usage set ${kind} = ${kind} + 1
          where ctid = (select ctid from project_usage limit 1)`,
    named: ['I7 counts of projects'],
  })),
  {
    what: 'the counts of a project in a scope are gone',
    sql: 'delete from project_usage where allocations > 0 and scope_id is not null',
    named: ['I7 counts of projects'],
  },
  {
    what: 'a project that has nothing is counted',
    sql: `insert into project_usage (project_id, blocks) values ('nobody', 1)`,
    named: ['I7 counts of projects'],
  },
  {
    what: 'the event of a block is deleted',
    sql: `delete from events where seq = (
            select seq from events e join blocks b on b.id = e.object_id
            where b.generation = (e.data ->> 'generation')::int order by seq desc limit 1)`,
    named: ['I9 change without its event'],
  },
  {
    what: 'two events of an allocation change places',
    sql: `with one as (
            select min(seq) as a, max(seq) as b from events where type like 'allocation.%'
            group by object_id having count(*) > 1 limit 1)
          update events set seq = -(select a + b from one) + seq
          where seq in (select a from one union select b from one);
          update events set seq = -seq where seq < 0`,
    named: ['I9 events out of order'],
  },
]

/** Damage to what policies, holds and quarantine bring. */
const damagesOfRules: readonly Damage[] = [
  {
    what: 'a quarantined address has lost its row',
    sql: `delete from quarantine where allocation_id = (select allocation_id from (${waiting}) q)`,
    named: ['I3 space lost or used twice', 'I3 counts'],
  },
  {
    what: 'a quarantined address is free, too',
    sql: `insert into free_ranges (block_id, first, last)
          select block_id, address, address from (${waiting}) q`,
    named: ['I3 space lost or used twice', 'I3 counts'],
  },
  {
    what: 'a quarantined address is held by another',
    sql: `insert into allocations (id, scope_id, ${copied})
          select gen_random_uuid(), scope_id, block_id, address, 'p', now() from (${waiting}) q`,
    named: ['I6 address held or quarantined twice', 'I3 space lost or used twice', 'I3 counts'],
  },
  {
    what: 'an address waits twice',
    sql: `alter table quarantine drop constraint address_quarantined;
          insert into quarantine
          select gen_random_uuid(), scope_id, block_id, address, ended_at, quarantined_until
          from (${waiting}) q`,
    named: ['I6 address held or quarantined twice', 'I6 quarantine without its allocation'],
  },
  {
    what: 'a quarantine is of no allocation',
    sql: `delete from allocation_history
          where id = (select allocation_id from (${waiting}) q)`,
    named: ['I6 quarantine without its allocation', 'I4 allocation gone from the record'],
  },
  {
    what: 'a quarantine ends at another time than its allocation says',
    sql: `update quarantine set quarantined_until = quarantined_until - interval '1 hour'
          where allocation_id = (select allocation_id from (${waiting}) q)`,
    named: ['I6 quarantine without its allocation'],
  },
  {
    what: 'an allocation goes on that is in quarantine',
    sql: `update quarantine set allocation_id = (select id from (${single}) a)
          where allocation_id = (select allocation_id from (${waiting}) q)`,
    named: ['I6 quarantine without its allocation'],
  },
  {
    what: 'a quarantined address is in a block that has children',
    sql: `insert into quarantine
          select gen_random_uuid(), scope_id, id, host(cidr)::inet, now(), now() from (${parent}) p`,
    named: ['I6 quarantine outside its block', 'I6 quarantine without its allocation'],
  },
  {
    what: 'a quarantined address is in another block',
    sql: `update quarantine q set block_id = (
            select id from blocks b where not b.cidr >>= q.address limit 1)
          where allocation_id = (select allocation_id from (${waiting}) q)`,
    named: ['I6 quarantine outside its block', 'I3 counts'],
  },
  {
    what: 'a quarantine ends before it begins',
    sql: `update allocation_history set quarantined_until = ended_at - interval '1 second'
          where id = (select id from (${ended}) h)`,
    named: ['I4 quarantine ends before it begins', 'I9 newest event tells otherwise'],
  },
  ...['held', 'quarantined'].map(kind => ({
    what: `more is counted as ${kind}`,
    sql: `update block_usage set ${kind} = ${kind} + 1
          where block_id = (select block_id from block_usage where ${kind} > 0 and free > 0 limit 1)`,
    named: ['I3 counts'],
  })),
  {
    what: 'a hold is confirmed by hand',
    sql: `update allocations set expires_at = null
          where id = (select id from allocations where expires_at is not null limit 1)`,
    named: ['I3 counts', 'I9 newest event tells otherwise'],
  },
  {
    what: 'free space has lost its purpose',
    sql: `update free_ranges set purpose = '' where purpose = 'web'`,
    named: ['I3 free space of a wrong purpose'],
  },
  {
    what: 'free space for a purpose reaches beyond what is kept for it',
    sql: `update free_ranges set purpose = 'web' where purpose = '' and excluded_octets is not null`,
    named: ['I3 free space of a wrong purpose'],
  },
  {
    what: 'free space skips other octets than its block',
    sql: `update free_ranges set excluded_octets = '{1}' where excluded_octets <> '{}'`,
    named: ['I3 excluded octets of free space', 'I3 counts'],
  },
  {
    what: 'what is kept from everyone is free',
    sql: `insert into free_ranges (block_id, first, last, excluded_octets)
          select k.block_id, k.first, k.first, b.excluded_octets
          from kept_ranges k join blocks b on b.id = k.block_id
          where k.purpose is null and k.first < k.last limit 1`,
    named: ['I3 free space of a wrong purpose', 'I3 counts'],
  },
  {
    what: 'a range that is kept for nobody is forgotten',
    sql: `delete from kept_ranges k where purpose is null and not exists (
            select from allocations a where a.address between k.first and k.last)`,
    named: ['I3 rules out of date', 'I3 space lost or used twice'],
  },
  {
    what: 'a range that is kept for a purpose is forgotten',
    sql: `delete from kept_ranges where purpose = 'web'`,
    named: ['I3 rules out of date', 'I3 free space of a wrong purpose'],
  },
  {
    what: 'a range is kept for nobody that no policy names',
    sql: `update kept_ranges set first = first - 1 where ctid = (
            select ctid from kept_ranges where reason like 'policy%' limit 1)`,
    named: ['I3 rules out of date'],
  },
  {
    what: 'a block that has children keeps something back',
    sql: `insert into kept_ranges select id, host(cidr)::inet, host(cidr)::inet, null, 'network address'
          from (${parent}) p`,
    named: ['I3 rules out of date'],
  },
  {
    what: 'the rules of a policy are changed by hand',
    sql: `update policies set rules = rules || '{"purposes": []}'`,
    named: ['I3 rules out of date'],
  },
  {
    what: 'a policy is taken from a network by hand',
    sql: `update blocks set policy_id = null`,
    named: ['I3 rules out of date'],
  },
  ...Object.entries({
    strategy: `'random'`,
    quarantine_seconds: '7',
    quarantine_reuse: 'true',
    ipv6_generator: `'eui64'`,
    utilisation_thresholds: `'{99}'`,
    excluded_octets: `'{99}'`,
    excluded_octets_reason: `'because'`,
  }).map(([column, value]) => ({
    what: `the ${column} of a block is changed by hand`,
    sql: `update blocks set ${column} = ${value} where id = (
            select id from blocks where excluded_octets is not null and strategy = 'sequential'
            limit 1)`,
    named: ['I3 rules out of date'],
  })),
  ...Object.entries({ largest_prefix: 'largest_prefix + 1', pool: `'other'` }).map(
    ([column, value]) => ({
      what: `a free range is found by a wrong ${column}`,
      sql: `alter table free_ranges alter ${column} drop expression;
            update free_ranges set ${column} = ${value}
            where ctid = (select ctid from free_ranges where first < last limit 1)`,
      named: ['I3 what free space is found by'],
    }),
  ),
  {
    what: 'an end is told as that of a hold that lapsed',
    sql: `update events set type = 'allocation.expired' where seq = (
            select seq from events where type = 'allocation.released' limit 1)`,
    named: ['I9 newest event tells otherwise'],
  },
  {
    what: 'something is told of an allocation after its end',
    sql: `insert into events (seq, type, object_id, project_id, data)
          select nextval('event_seq'), 'allocation.renewed', object_id, project_id,
            jsonb_set(data::jsonb, '{generation}', to_jsonb((data ->> 'generation')::int + 1))
          from events where type = 'allocation.expired' limit 1`,
    named: ['I9 events out of order', 'I9 newest event tells otherwise'],
  },
  {
    what: 'the event of a policy is deleted',
    sql: `delete from events where type = 'policy.created'`,
    named: ['I9 change without its event'],
  },
]

const pointing = 'select * from floating_ips where private_allocation_id is not null limit 1'
/** Damage to what floating IPs point at. */
const damagesOfAssociations: readonly Damage[] = [
  {
    what: 'a floating IP has lost its allocation',
    sql: `delete from allocations where id = (select allocation_id from (${pointing}) f)`,
    named: ['I14 floating IP without its allocation'],
  },
  {
    what: 'a floating IP points at what has ended',
    sql: `delete from allocations where id = (select private_allocation_id from (${pointing}) f)`,
    named: ['I14 floating IP points at nothing'],
  },
  {
    what: 'a floating IP forgets what it points at',
    sql: `update floating_ips set private_allocation_id = null, private_address = null
          where id = (select id from (${pointing}) f)`,
    named: ['I14 floating IP and its history differ', 'I14 newest event tells otherwise'],
  },
  {
    what: 'a floating IP has pointed at two at one time',
    sql: `alter table floating_ip_associations drop constraint floating_ip_points_twice;
          insert into floating_ip_associations
          select gen_random_uuid(), floating_ip_id, project_id, allocation_id, address,
            gen_random_uuid(), private_address, started_at, started_at + interval '1 second'
          from floating_ip_associations where ended_at is null limit 1`,
    named: ['I14 two associations at one time'],
  },
  {
    what: 'an association began before its allocation',
    sql: `update floating_ip_associations set started_at = started_at - interval '1 day'
          where ended_at is not null`,
    named: ['I14 association outside the life of its allocation'],
  },
  {
    what: 'a NAT mapping joins what has ended',
    sql: `delete from allocations where id = (
            select inside_local_id from nat_mappings where ended_at is null limit 1)`,
    named: ['I14 NAT mapping of what has ended'],
  },
  {
    what: 'a NAT mapping is there twice',
    sql: `insert into nat_mappings
          select gen_random_uuid(), project_id, inside_local_id, inside_local_address,
            inside_global_id, inside_global_address, started_at, clock_timestamp()
          from nat_mappings where ended_at is null limit 1`,
    named: ['I14 NAT mapping twice at one time', 'I14 NAT mapping without its event'],
  },
  {
    what: 'a NAT mapping began before its allocations',
    sql: `update nat_mappings set started_at = started_at - interval '1 day'`,
    named: ['I14 NAT mapping outside the life of an allocation'],
  },
  {
    what: 'a floating IP is gone without an event',
    sql: `delete from floating_ips where id = (select id from (${pointing}) f)`,
    named: ['I7 counts of projects', 'I14 floating IP and its history differ'],
  },
]

const mac = 'select * from macs where pool_id is not null order by id limit 1'
const nic = 'select * from interfaces order by id limit 1'
const allowed = `select * from allowed_addresses where role = 'secondary' limit 1`
/** Damage to what MAC ranges give out. */
const damagesOfMacs: readonly Damage[] = [
  {
    what: 'free MACs are lost',
    sql: 'delete from mac_free_ranges where ctid = (select ctid from mac_free_ranges limit 1)',
    named: ['I13 free MACs'],
  },
  {
    what: 'a MAC that is held is free, too',
    sql: `insert into mac_free_ranges (pool_id, first, last) select pool_id, mac, mac from (${mac}) m`,
    named: ['I13 free MACs'],
  },
  {
    what: 'free MACs are kept in two parts',
    sql: `with cut as (
            update mac_free_ranges set first = first + 1
            where ctid = (select ctid from mac_free_ranges where first < last limit 1)
            returning pool_id, first - 1 as mac, free_since)
          insert into mac_free_ranges select pool_id, mac, mac, free_since from cut`,
    named: ['I13 free MACs'],
  },
  {
    what: 'free MACs have lost their age',
    sql: 'update mac_free_ranges set free_since = null where free_since is not null',
    named: ['I13 free MACs'],
  },
  {
    what: 'a MAC is forbidden that is free',
    sql: `update mac_ranges set forbidden = '{56:00:00:00:00:80/41}' where first = x'560000000000'::bigint`,
    named: ['I13 free MACs'],
  },
  ...['held', 'waiting'].map(kind => ({
    what: `more MACs are counted as ${kind}`,
    sql: `update mac_pools set ${kind} = ${kind} + 1`,
    named: ['I13 counts of MACs'],
  })),
  {
    what: 'a MAC is of a range in which it does not lie',
    sql: `update macs set mac = mac + (1::bigint << 40) where id = (select id from (${mac}) m)`,
    named: ['I13 MAC outside its range', 'I13 free MACs'],
  },
  {
    what: 'a MAC of a range is said to be of none',
    sql: `update macs set pool_id = null, range_id = null where id = (select id from (${mac}) m)`,
    named: ['I13 MAC outside its range', 'I13 counts of MACs', 'I13 free MACs'],
  },
  {
    what: 'two had a MAC at one time',
    sql: `insert into mac_history (id, mac, network_id, project_id, started_at, ended_at)
          select gen_random_uuid(), mac, network_id, 'p', started_at - interval '1 second',
            started_at + interval '1 second' from (${mac}) m`,
    named: ['I13 MAC held by two at one time', 'I9 MAC without its event'],
  },
  {
    what: 'a MAC is both held and released',
    sql: `insert into mac_history (id, mac, network_id, project_id, started_at, ended_at)
          select id, mac, network_id, project_id, started_at, clock_timestamp() from (${mac}) m`,
    named: ['I13 MAC held by two at one time'],
  },
  {
    what: 'the event of a MAC is deleted',
    sql: `delete from events where object_id = (select id from (${mac}) m)`,
    named: ['I9 MAC without its event'],
  },
  {
    what: 'a MAC waits for somebody else than who had it',
    sql: `update mac_waiting set owner_id = 'other'`,
    named: ['I13 MAC waits for nobody'],
  },
  {
    what: 'a MAC waits that somebody has',
    sql: `insert into mac_waiting select id, pool_id, mac, project_id, owner_id, now() from (${mac}) m`,
    named: ['I13 MAC waits for nobody', 'I13 counts of MACs'],
  },
]

/** Damage to interfaces, and to what they may use beside their addresses. */
const damagesOfInterfaces: readonly Damage[] = [
  {
    what: 'the MAC of an interface is on another network',
    sql: `update macs set network_id = (select id from networks n where n.id <> network_id limit 1)
          where interface_id = (select id from (${nic}) i)`,
    named: ['I13 interface and its MAC'],
  },
  {
    what: 'an interface is gone without a trace',
    sql: `delete from interfaces where id = (select id from (${nic}) i)`,
    named: [
      'I13 interface and its MAC',
      'I7 counts of projects',
      'I9 gone without its event',
      'I13 allowed address and its interface',
    ],
  },
  {
    what: 'an interface changes without an event',
    sql: `update interfaces set generation = generation + 1, name = 'other'`,
    named: ['I9 change without its event'],
  },
  ...(
    [
      ['client id', 'client_id', `'01aa'`],
      ['DUID', 'duid', `'0004aa'`],
      ['DUID, and one of them by an IAID of it', 'duid, iaid', `'0004aa', nullif(n, 1)`],
    ] as const
  ).map(([name, columns, values]) => ({
    what: `two interfaces of a network are known by one ${name}`,
    sql: `drop index client_id_taken;
          alter table interfaces drop constraint duid_taken;
          insert into interfaces (id, project_id, network_id, attached_at, ${columns})
          select gen_random_uuid(), 'p', (select min(id::text)::uuid from networks), now(), ${values}
          from generate_series(1, 2) n`,
    named: ['I13 interfaces known by one name', 'I9 change without its event'],
  })),
  {
    what: 'an interface was at two devices at one time',
    sql: `update interface_history set ended_at = ended_at + interval '1 day'
          where interface_id = (select id from (${nic}) i)`,
    named: ['I13 interface at two devices at one time'],
  },
  {
    what: 'an address is allowed to others than who has it alone',
    sql: `alter table allowed_addresses drop constraint allowed_address_taken;
          insert into allowed_addresses (id, interface_id, network_id, project_id, address, role,
            role_since)
          select gen_random_uuid(), gen_random_uuid(), network_id, project_id, address, 'exclusive',
            clock_timestamp() from (${allowed}) a`,
    named: [
      'I13 address allowed to others than who has it alone',
      'I13 allowed address and its interface',
      'I9 change without its event',
    ],
  },
  {
    what: 'two had an address alone at one time',
    sql: `update allowed_address_history set ended_at = ended_at + interval '1 day'`,
    named: ['I13 address was allowed to others than who had it alone'],
  },
  {
    what: 'an allowed address is of another project than its interface',
    sql: `update allowed_addresses set project_id = 'other'`,
    named: ['I13 allowed address and its interface'],
  },
  ...(['allowed_addresses', 'block_routes', 'mac_ranges'] as const).map(table => ({
    what: `a row of ${table} is gone without an event`,
    sql: `delete from ${table} where ctid = (select ctid from ${table} order by created_at desc limit 1)`,
    named: ['I9 gone without its event'],
  })),
]

const underGrant = 'select * from allocations where grant_id is not null order by id limit 1'
/** Damage to grants, and to what is held under them. */
const damagesOfGrants: readonly Damage[] = [
  {
    what: 'more is counted under a grant than is held',
    sql: 'update grant_usage set held = held + 1',
    named: ['I15 counts under grants'],
  },
  {
    what: 'what is held under grants is not counted',
    sql: 'delete from grant_usage where held > 0',
    named: ['I15 counts under grants'],
  },
  {
    what: 'an allocation was taken under no grant after all',
    sql: `update allocations set grant_id = null where id = (select id from (${underGrant}) a)`,
    named: ['I15 counts under grants'],
  },
  {
    what: 'a grant is gone, and what was taken under it is not',
    sql: `delete from grants where id = (select grant_id from (${underGrant}) a)`,
    named: ['I15 allocation under no grant of its own', 'I15 counts under grants'],
  },
  {
    what: 'an allocation was taken under the grant of another project',
    sql: `update grants set project_id = 'somebody'
          where id = (select grant_id from (${underGrant}) a)`,
    named: ['I15 allocation under no grant of its own'],
  },
  {
    what: 'an allocation was taken under the grant of another place',
    sql: `update allocations a set grant_id = (
            select g.id from grants g where g.block_id is not null and g.block_id <> a.block_id
              and g.id <> a.grant_id limit 1)
          where id = (select id from (${underGrant}) a)`,
    named: ['I15 allocation outside the place of its grant'],
  },
  {
    what: 'a block that is granted is of somebody else',
    sql: `update blocks set project_id = 'somebody'
          where id = (select block_id from grants where block_id is not null limit 1)`,
    named: ['I15 grant of another than the owner'],
  },
]

const declined = `select l.* from leases l join withheld_addresses w on w.lease_id = l.id limit 1`
/** Damage to leases, and to what is withheld. */
const damagesOfLeases: readonly Damage[] = [
  {
    what: 'a lease is of an allocation that there never was',
    sql: `update leases set allocation_id = gen_random_uuid() where state = 'bound'`,
    named: ['I16 lease of no such allocation'],
  },
  {
    what: 'a lease is of another address than its allocation',
    sql: `update leases set address = '10.90.0.99' where state = 'bound'`,
    named: ['I16 lease of no such allocation'],
  },
  {
    what: 'the lease of a client is declined, and its allocation goes on',
    sql: `update leases l set state = 'declined' from allocations a
          where a.id = l.allocation_id and a.owner_type = 'dhcp_client'`,
    named: ['I16 allocation goes on that a client declined', 'I16 declined without its event'],
  },
  {
    what: 'the event of a declined lease is deleted',
    sql: `delete from events where type = 'lease.declined'`,
    named: ['I16 declined without its event'],
  },
  {
    what: 'it is told twice that a lease was declined',
    sql: `insert into events (seq, type, object_id, project_id, data)
          select nextval('event_seq'), type, object_id, project_id, data
          from events where type = 'lease.declined' limit 1`,
    named: ['I16 declined without its event'],
  },
  {
    what: 'an address is withheld of another allocation',
    sql: `update withheld_addresses set address = '10.90.0.99'`,
    named: ['I16 withheld address and its allocation'],
  },
  {
    what: 'an address is withheld that nobody declined',
    sql: `update leases set state = 'bound' where id = (select id from (${declined}) l)`,
    named: ['I16 address withheld that nobody declined'],
  },
]

describe.skipIf(inject('postgresUrl') === '')('melange audit', () => {
  let original: string
  const MELANGE_CONFIG = settingsFile({ log_level: 'warn' })

  beforeAll(async () => {
    original = await createDatabase(inject('postgresUrl'))
    const server = await ServerProcess.start({ DATABASE_URL: original, MELANGE_CONFIG })
    const weather = { mayLoseAnswers: false, mayLackDatabase: false }
    const world = await createWorld(server)
    const load = startLoad({ world, weather, clients: 32, seed: 4, server: () => server })
    await load.progress(1500)
    expect((await load.stop()).surprises).toEqual([])
    await server.stop()
    await createRuledWorld(original)
    await createFloatingWorld(original)
    await createInterfaceWorld(original)
    await createGrantWorld(original)
    await createLeaseWorld(original)
  })
  afterAll(async () => {
    await cleanUp()
    if (original) await dropDatabase(original)
  })

  test('finds nothing where nothing is wrong', async () => {
    const report = await runAudit({ DATABASE_URL: original, MELANGE_CONFIG })
    expect(report).toMatchObject({ code: 0, differences: [] })
    expect(report.checked.allocations).toBeGreaterThan(100)
    expect(report.checked.ended).toBeGreaterThan(100)
    expect(report.checked.blocks).toBeGreaterThan(10)
  })

  test('and nothing wrong with what is only to be cleared away', async () => {
    const late = await withPostgres(original, query =>
      query(`
        select 'hold' as what from allocations where expires_at < now() - interval '1 hour'
        union
        select 'quarantine' from quarantine where quarantined_until < now() - interval '1 hour'`),
    )
    expect(late.map(({ what }) => what).sort()).toEqual(['hold', 'quarantine'])
  })

  test.each([
    ...damages,
    ...damagesOfRules,
    ...damagesOfAssociations,
    ...damagesOfMacs,
    ...damagesOfInterfaces,
    ...damagesOfGrants,
    ...damagesOfLeases,
  ])('names it when $what', async ({ sql, named }) => {
    const copy = await createDatabase(inject('postgresUrl'), original)
    try {
      await withPostgres(copy, async query => {
        const count = async () => (await query(fingerprint)).map(row => JSON.stringify(row))
        const before = await count()
        // Triggers and foreign keys do not see what is done so.
        await query(`set session_replication_role = replica; ${sql}`)
        expect(await count()).not.toEqual(before)
      })
      const { code, differences } = await runAudit({ DATABASE_URL: copy, MELANGE_CONFIG })
      expect(code).toBe(1)
      const checks = new Set(differences.map(({ check }) => check))
      expect([...checks]).toEqual(expect.arrayContaining([...named]))
    } finally {
      await dropDatabase(copy)
    }
  })
})

/** Tells whether the damage was done at all. */
const fingerprint = ['blocks', 'block_usage', 'free_ranges', 'allocations', 'allocation_history']
  .concat(['events', 'quarantine', 'kept_ranges', 'policies', 'project_usage'])
  .concat(['floating_ips', 'floating_ip_associations', 'nat_mappings'])
  .concat(['block_routes', 'dhcp_options', 'macs', 'mac_pools', 'mac_free_ranges', 'mac_waiting'])
  .concat(['mac_history', 'interfaces', 'interface_history', 'allowed_addresses'])
  .concat(['allowed_address_history', 'mac_ranges', 'grants', 'grant_usage'])
  .concat(['leases', 'withheld_addresses'])
  .map(table => `select md5(string_agg(t::text, ',' order by t::text)) from ${table} t`)
  .join(' union all ')
