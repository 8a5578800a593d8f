using CloudFs.Core.Devices;
using CloudFs.Core.Index;
using CloudFs.Core.Layout;
using CloudFs.Core.Trees;

namespace CloudFs.Micro;

/// <summary>A tree of extents on a real file, with a cache that holds all of it.</summary>
internal sealed class TreeRig : IDisposable
{
    private const int SegmentCount = 8;

    private readonly string _path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
    private readonly FileBlockDevice _device;
    private readonly IndexSpace _space;

    public TreeRig()
    {
        _device = FileBlockDevice.Open(_path, DeviceGeometry.SegmentOffset(SegmentCount));
        _space = new IndexSpace(_device, new Segments());
        Tree = new PagedTree(_space, new PageCache(64 << 20), _device);
    }

    public PagedTree Tree { get; }

    public TreeRoot Root { get; private set; }

    /// <summary>Puts a layer into the tree; what it replaces may be used again, as after a checkpoint that holds.</summary>
    public async Task MergeAsync(ExtentRuns layer)
    {
        Root = await Tree.MergeAsync(Root, layer, [], new Nobody());
        _space.Settle();
    }

    /// <summary>Reads all of it once, so that the cache has it.</summary>
    public async Task WarmAsync()
    {
        var into = new MappedExtent[512];
        for (var lba = 0UL; ;)
        {
            var (_, count) = await Tree.FindAsync(Root, lba, ulong.MaxValue, into);
            if (count == 0)
            {
                return;
            }

            lba = into[count - 1].End;
        }
    }

    public void Dispose()
    {
        _device.Dispose();
        File.Delete(_path);
    }

    private sealed class Segments : IIndexSegments
    {
        private readonly SortedSet<int> _free = [.. Enumerable.Range(0, SegmentCount)];

        public int TakeForIndex()
        {
            var segment = _free.Count == 0 ? -1 : _free.Min;
            _free.Remove(segment);
            return segment;
        }

        public void ReleaseIndex(int segment) => _free.Add(segment);

        public bool IsBad(int segment) => false;

        public Task CondemnIndexAsync(int segment, DeviceException why) => Task.FromException(why);
    }

    private sealed class Nobody : ITreeLiveness
    {
        public void Added(in MappedExtent extent)
        {
        }

        public void Removed(in MappedExtent extent, ulong byLsn)
        {
        }
    }
}
