"""The suite's own arithmetic: python3 -m unittest discover -s bench. Nothing is measured, nothing is started."""

import json
import unittest

import report
import suite
import workloads
from workloads import FioError, parse


def side(ios=0, iops=0.0, mean=0, p99=0, block=4096):
    return {"total_ios": ios, "iops": iops, "bw_bytes": iops * block, "io_bytes": ios * block, "runtime": 2000,
            "lat_ns": {"mean": mean, "percentile": {"50.000000": 1, "99.000000": p99}}}


def answer(error=0, **parts):
    job = {"error": error, "usr_cpu": 10, "sys_cpu": 20, "read": side(), "write": side(), "sync": {"total_ios": 0}, **parts}
    return "fio: connected to NBD server\n" + json.dumps({"jobs": [job]}, indent=1)


def figures(iops):
    return report.summarize([{"iops": value} for value in iops])


def row(key):
    return next(found for found in workloads.ROWS if found.key == key)


class ParseTests(unittest.TestCase):
    def test_one_side(self):
        found = parse(answer(write=side(2000, 1000.0, 250_000, 900_000)))
        self.assertEqual((1000, 2000 * 4096, 2.0, 250, 900),
                         tuple(found[key] for key in ("iops", "bytes", "seconds", "mean_us", "p99_us")))
        self.assertAlmostEqual(4.096, found["mbs"])
        self.assertNotIn("flush_mean_us", found)

    def test_both_sides_are_one_figure_weighted_by_their_number_and_the_worse_percentile(self):
        found = parse(answer(read=side(300, 150.0, 100_000, 400_000), write=side(100, 50.0, 500_000, 300_000)))
        self.assertEqual((200, 200, 400), (found["iops"], found["mean_us"], found["p99_us"]))

    def test_flushes_have_latencies_of_their_own(self):
        sync = {"total_ios": 5, "lat_ns": {"mean": 2000, "percentile": {"99.000000": 7000}}}
        found = parse(answer(write=side(5, 5.0, 1000, 1000), sync=sync))
        self.assertEqual((2, 7), (found["flush_mean_us"], found["flush_p99_us"]))

    def test_what_is_no_result_is_refused(self):
        for text in ("", "fio: it went wrong\n", answer(error=5, write=side(1, 1.0)), answer()):
            self.assertRaises(FioError, parse, text)


class JudgeTests(unittest.TestCase):
    def test_medians_and_spread(self):
        self.assertEqual({"median": 3, "min": 1, "max": 100}, figures([100, 1, 3])["iops"])
        self.assertEqual({}, report.summarize([]))

    def test_ratios_are_of_medians(self):
        self.assertEqual(1.5, report.ratio(figures([1, 30, 90]), figures([20, 19, 1000])))
        self.assertIsNone(report.ratio(figures([1]), {}))
        self.assertIsNone(report.ratio({}, figures([1])))

    def test_verdicts(self):
        for value, expected in ((1.19, "FAIL"), (1.2, "PASS"), (1.79, "PASS"), (1.8, "PASS goal"), (None, "FAIL")):
            self.assertEqual(expected, report.verdict(value, 1.2, 1.8))
        for value, expected in ((1.16, "FAIL"), (1.15, "PASS"), (1.05, "PASS goal"), (None, "FAIL")):
            self.assertEqual(expected, report.verdict(value, 1.15, 1.05, smaller=True))

    def test_limits_over_tcp_are_a_part_of_the_rows_own_and_hold_for_one_peer(self):
        self.assertEqual((1.2, 1.8), report.limits_of(row("write-d1"), "nbdkit-file", "unix"))
        self.assertEqual((0.96, 1.2), report.limits_of(row("write-d1"), "nbdkit-file", "tcp"))
        self.assertEqual((1.7, 3.0), report.limits_of(row("write-d1"), "qemu-raw", "unix"))
        self.assertIsNone(report.limits_of(row("write-d1"), "qemu-raw", "tcp"))
        self.assertIsNone(report.limits_of(row("write-d1"), "nbd-server", "unix"))
        self.assertEqual((4.0, 6.0), report.limits_of(row("flush-d16"), "qemu-qcow2", "unix"))

    def test_nobody_is_compared_on_flushed_rows_who_does_not_flush(self):
        servers = {"cloudfs": figures([12]), "nbdkit-file": figures([10]), "nbd-server": figures([10])}
        flushes = {"cloudfs": True, "nbdkit-file": True, "nbd-server": False}
        flushed = report.judge_row(row("flush-d1"), "unix", servers, flushes)
        self.assertEqual({"nbdkit-file": {"ratio": 1.2, "least": 1.2, "goal": 1.5, "verdict": "PASS"}}, flushed)
        self.assertEqual({"ratio": 1.2}, report.judge_row(row("write-d1"), "unix", servers, flushes)["nbd-server"])

    def test_a_row_is_printed_even_where_a_server_failed(self):
        servers = {"cloudfs": figures([12]), "nbdkit-file": {}}
        ratios = report.judge_row(row("write-d1"), "unix", servers, {})
        result = {"servers": servers, "ratios": ratios, "errors": {"nbdkit-file": "gone"}}
        self.assertIn("FAIL gone", list(report.row_lines(row("write-d1"), "unix", result))[-1])


class RowTests(unittest.TestCase):
    def test_keys_are_words_of_their_own(self):
        keys = [found.key for found in workloads.ROWS] + [found[0] for found in workloads.DISK_ROWS]
        self.assertEqual(len(keys), len(set(keys)))

    def test_areas_and_ends(self):
        gib = 1 << 30
        self.assertIn("--size=%d" % (4 * gib), workloads.row_words(row("write-d1"), 4 * gib, 5))
        self.assertIn("--size=%d" % gib, workloads.row_words(row("read-d1"), 4 * gib, 5))
        cold = workloads.row_words(row("cold-read-d1"), 4 * gib, 5)
        self.assertIn("--size=%d" % (3 * gib), cold)
        self.assertNotIn("--time_based", cold)  # a second time round it would no longer be cold
        self.assertIn("--offset=%d" % (3.5 * gib), workloads.tail_words(row("cold-read-d1"), 4 * gib))
        large = workloads.row_words(row("seqwrite-1m"), 4 * gib, 5)
        self.assertTrue({"--io_size=%d" % (2 * gib), "--end_fsync=1"} <= set(large))

    def test_many_connections_begin_by_eights(self):
        words = workloads.command(("--bs=4k", "--numjobs=16"))
        late = words.index("--startdelay=100ms")
        self.assertEqual(2, words.count("--numjobs=8"))
        self.assertLess(words.index("--bs=4k"), words.index("--name=bench"))  # before the first job: for all of them
        self.assertEqual(["--name=bench", "--numjobs=8", "--startdelay=100ms"], words[late - 2:late + 1])
        self.assertEqual(["--name=bench", "--numjobs=1"], workloads.command(())[-2:])

    def test_rows_are_chosen_by_key_or_by_a_piece_of_their_name(self):
        self.assertTrue(workloads.wanted("", "write-d1", "any"))
        self.assertTrue(workloads.wanted("^(write|flush)-d1$", "flush-d1", "any"))
        self.assertTrue(workloads.wanted("depth 32", "x", "4 KiB random write, depth 32"))
        self.assertFalse(workloads.wanted("^write", "seqwrite-1m", "1 MiB"))

    def test_options(self):
        options = suite.Options({"BENCH_QUICK": "1", "BENCH_SIZE": "512M", "BENCH_PEERS": "nbdkit-file"})
        self.assertEqual((1, 2, 512 << 20, 2 << 30, ["nbdkit-file"]),
                         (options.rounds, options.seconds, options.size, options.device, options.peers))
        self.assertEqual((3, 5, 4 << 30), (suite.Options({}).rounds, suite.Options({}).seconds, suite.Options({}).size))
        self.assertRaises(SystemExit, suite.Options, {"BENCH_PEERS": "nobody"})


if __name__ == "__main__":
    unittest.main()
