using CloudFs.Core.Primitives;

namespace CloudFs.Core.Format;

/// <summary>A view's rank: epochs compared as numbers, then candidates as bytes. <c>default</c> is below every
/// view's.</summary>
/// <param name="Epoch">At least 1 in a view.</param>
/// <param name="Primary">Host id of the candidate.</param>
public readonly record struct Ballot(ulong Epoch, Id160 Primary) : IComparable<Ballot>
{
    public int CompareTo(Ballot other)
    {
        var order = Epoch.CompareTo(other.Epoch);
        return order != 0 ? order : Primary.CompareTo(other.Primary);
    }

    /// <summary>Epoch and host, as messages show it.</summary>
    public override string ToString() => $"{Epoch}@{Primary}";

    public static bool operator <(Ballot left, Ballot right) => left.CompareTo(right) < 0;

    public static bool operator <=(Ballot left, Ballot right) => left.CompareTo(right) <= 0;

    public static bool operator >(Ballot left, Ballot right) => left.CompareTo(right) > 0;

    public static bool operator >=(Ballot left, Ballot right) => left.CompareTo(right) >= 0;
}
