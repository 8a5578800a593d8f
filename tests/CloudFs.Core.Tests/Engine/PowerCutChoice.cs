namespace CloudFs.Core.Tests.Engine;

/// <summary>Is told of operations before they are done.</summary>
internal interface IDeviceRecorder
{
    void BeforeOperation(MemoryDevice device);
}

/// <summary>What a power cut leaves of the writes that were not flushed.</summary>
internal sealed class PowerCutChoice
{
    private readonly Random _random;
    private readonly int _mode;
    private readonly int _keep;
    private readonly int _block;
    private readonly int _cut;
    private int _tornAt = -1;
    private bool _keepsBlock;

    public PowerCutChoice(Random random, int writes, int block)
    {
        _random = random;
        _block = block;
        _mode = random.Next(8);
        _keep = random.Next(0, 101);
        _cut = random.Next(writes + 1);
    }

    /// <summary>True when that sector of that write reached the medium. Asked in order.</summary>
    public bool Keeps(int write, int at, int length)
    {
        if (at % _block == 0)
        {
            _keepsBlock = _random.Next(100) < _keep;
        }

        if (write == _cut && _tornAt < 0)
        {
            _tornAt = _random.Next((length / 512) + 1) * 512;
        }

        return _mode switch
        {
            0 => false,
            1 => true,
            2 or 3 => _keepsBlock,

            // Torn: any sectors of any blocks.
            4 or 5 => _random.Next(100) < _keep,

            // In order up to somewhere.
            6 => write < _cut || (write == _cut && at < _tornAt),

            // The later ones first.
            _ => write > _cut || (write == _cut && at >= _tornAt),
        };
    }
}
