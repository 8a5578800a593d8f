using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>What became of a draft.</summary>
/// <param name="Id">Public id of the version that the entry makes.</param>
/// <param name="Entropy">With the view's secret it gives the token again.</param>
/// <param name="Lock">H(token).</param>
/// <param name="Token">What the next entry states as its parent. Secret until then: it must not be logged.</param>
/// <param name="HeaderLength">Bytes of the header.</param>
/// <param name="BodyLength">Bytes of the body.</param>
public readonly record struct SealedEntry(
    Id160 Id, Id160 Entropy, Id160 Lock, Id160 Token, int HeaderLength, int BodyLength)
{
    /// <summary>Without the token, so that no message tells it by accident.</summary>
    public override string ToString() => $"version {Id}, header {HeaderLength}, body {BodyLength}";
}
