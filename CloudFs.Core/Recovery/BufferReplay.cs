using CloudFs.Core.Log;
using CloudFs.Core.Primitives;

namespace CloudFs.Core.Recovery;

/// <summary>
/// Takes out of a write buffer what a process that died had put there and the device had not yet taken. Only what belongs
/// exactly behind the log's end is taken: a buffer that does not fit is never replayed.
/// </summary>
public static class BufferReplay
{
    /// <summary>The items (entries and device records) to append again, in order.</summary>
    /// <param name="buffer">A buffer whose device and boot match.</param>
    /// <param name="end">The log's end as recovered.</param>
    /// <param name="report">Told when the buffer does not fit.</param>
    public static IReadOnlyList<ReadOnlyMemory<byte>> Collect(WriteBuffer buffer, LogEnd end, RecoveryReport report)
    {
        var slots = Enumerable.Range(0, buffer.Slots)
            .Where(slot => buffer.SequenceOf(slot) != 0)
            .OrderBy(buffer.SequenceOf)
            .ToList();
        if (slots.Count == 0)
        {
            return [];
        }

        // What begins before the log's end was appended already, whole or in part (a replay that died makes other commits of
        // it): the chain tells which entries are held.
        var first = buffer.PositionOf(slots[0]);
        var nextUse = new LogPosition(end.Position.Use + 1, 0);
        if (buffer.Written > end.Position || (first > end.Position && !(end.Segment >= 0 && first == nextUse)))
        {
            report.Add(
                "buffer-mismatch",
                $"a write buffer was left behind that continues the log at {first}, but the log ends at {end.Position}: the device "
                + "was put back to an older state, so the buffer was not replayed");
            return [];
        }

        var items = new List<ReadOnlyMemory<byte>>();
        foreach (var slot in slots)
        {
            // Copied: the slots are reused before the items are.
            var filled = Math.Clamp(buffer.FilledOf(slot), 0, WriteBuffer.SlotBytes);
            if (!TakeItems(buffer.Slot(slot)[..filled].ToArray(), items))
            {
                report.AddDamage(
                    "buffer-damaged", $"the write buffer's commit for {buffer.PositionOf(slot)} is damaged: replayed up to there");
                break;
            }
        }

        return items;
    }

    private static bool TakeItems(ReadOnlyMemory<byte> slot, List<ReadOnlyMemory<byte>> items)
    {
        for (var rest = slot[Math.Min(Layout.CommitFrameLayout.RecordBytes, slot.Length)..]; !rest.IsEmpty;)
        {
            if (!LogItem.TryMeasure(rest.Span, out var header, out var total) || total > rest.Length
                || !LogItem.Proves(rest.Span[..header]))
            {
                return false;
            }

            items.Add(rest[..total]);
            rest = rest[total..];
        }

        return true;
    }
}
