namespace CloudFs.Core.Replication;

/// <summary>So many places, given to whoever asks, first come, first served; one may take several. Any thread.</summary>
internal sealed class PlaceQueue(int places)
{
    private readonly Lock _lock = new();
    private readonly LinkedList<Asker> _waiting = new();
    private int _free = places;

    /// <summary>Takes places, as many as there are at most; waits until they are free.</summary>
    public async ValueTask EnterAsync(int count, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        LinkedListNode<Asker> asker;
        lock (_lock)
        {
            if (_waiting.Count == 0 && _free >= count)
            {
                _free -= count;
                return;
            }

            asker = _waiting.AddLast(new Asker(count));
        }

        await using var registration = cancellation.Register(() => GiveUp(asker, cancellation));
        await asker.Value.Entered.Task;
    }

    public void Leave(int count)
    {
        lock (_lock)
        {
            _free += count;
        }

        Admit();
    }

    private void GiveUp(LinkedListNode<Asker> asker, CancellationToken cancellation)
    {
        lock (_lock)
        {
            if (asker.List is null)
            {
                // It has its places.
                return;
            }

            _waiting.Remove(asker);
        }

        asker.Value.Entered.TrySetCanceled(cancellation);
        Admit();
    }

    private void Admit()
    {
        while (true)
        {
            Asker next;
            lock (_lock)
            {
                if (_waiting.First is not { } first || _free < first.Value.Count)
                {
                    return;
                }

                next = first.Value;
                _free -= next.Count;
                _waiting.RemoveFirst();
            }

            next.Entered.TrySetResult();
        }
    }

    private sealed class Asker(int count)
    {
        public int Count => count;

        public TaskCompletionSource Entered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
