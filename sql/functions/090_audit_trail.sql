-- The lowest number of events, or refusals, from a time on. Times grow with numbers, but for a few
-- seconds where clocks differ, so that halving finds it in some forty steps however many there are.
create or replace function first_seq_since(source regclass, moment timestamptz) returns bigint
language plpgsql stable as $$
declare
  low bigint;
  high bigint;
  found_seq bigint;
  found_at timestamptz;
begin
  execute format('select min(seq), max(seq) + 1 from %s', source) into low, high;
  while low < high loop
    execute format('select seq, at from %s where seq >= $1 order by seq limit 1', source)
    into found_seq, found_at using low + (high - low) / 2;
    if found_at >= moment then
      high := low + (high - low) / 2;
    else
      low := found_seq + 1;
    end if;
  end loop;
  return coalesce(low, 0);
end $$;
