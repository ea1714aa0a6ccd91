#include "export/worker_pool.h"

#include <latch>

namespace forerun::nbd {
namespace {

struct LambdaJob final : WorkerPool::Job {
  explicit LambdaJob(std::function<void()> with) : body(std::move(with)) {}
  void run() override { body(); }
  std::function<void()> body;
};

constexpr int kFirst = 1;
constexpr int kSecond = 2;

TEST(WorkerPool, RunsJobsSideBySide) {
  std::latch all_there(4);
  LambdaJob job([&] { all_there.arrive_and_wait(); });
  LambdaJob jobs[] = {job, job, job, job};
  {
    WorkerPool pool({.threads_max = 4, .threads_per_key_max = 4});
    for (LambdaJob& one : jobs) pool.submit(&kFirst, &one);
    all_there.wait();
    EXPECT_EQ(pool.thread_count(), 4u);
  }
}

TEST(WorkerPool, OneExportCannotTakeAllThreads) {
  std::latch others_done(1);
  std::latch all_done(4);
  LambdaJob stuck([&] {
    others_done.wait();
    all_done.count_down();
  });
  LambdaJob many[] = {stuck, stuck, stuck};
  LambdaJob other([&] {
    others_done.count_down();
    all_done.count_down();
  });
  WorkerPool pool({.threads_max = 2, .threads_per_key_max = 1});
  for (LambdaJob& one : many) pool.submit(&kFirst, &one);

  pool.submit(&kSecond, &other);  // would deadlock behind the first export's

  all_done.wait();
}

TEST(WorkerPool, StartsNoThreadsBeyondAnExportsShare) {
  std::latch go_on(1);
  std::latch all_done(20);
  LambdaJob waiting([&] {
    go_on.wait();
    all_done.count_down();
  });
  std::vector<LambdaJob> many(20, waiting);
  WorkerPool pool({.threads_max = 16, .threads_per_key_max = 2});

  for (LambdaJob& one : many) pool.submit(&kFirst, &one);

  EXPECT_LE(pool.thread_count(), 3u);
  go_on.count_down();
  all_done.wait();
}

TEST(WorkerPool, GivesBackJobsThatHaveNotBegun) {
  std::latch begun(1);
  std::latch go_on(1);
  LambdaJob running([&] {
    begun.count_down();
    go_on.wait();
  });
  LambdaJob queued([] {});
  LambdaJob others([] {});
  running.owner = queued.owner = &kFirst;
  others.owner = &kSecond;
  WorkerPool pool({.threads_max = 1, .threads_per_key_max = 1});
  pool.submit(&kFirst, &running);
  begun.wait();
  pool.submit(&kFirst, &queued);
  pool.submit(&kFirst, &others);

  const std::vector<WorkerPool::Job*> taken = pool.withdraw(&kFirst, &kFirst);
  const std::vector<WorkerPool::Job*> taken_of_other = pool.withdraw(&kFirst, &kSecond);

  EXPECT_EQ(taken, std::vector<WorkerPool::Job*>{&queued});
  EXPECT_EQ(taken_of_other, std::vector<WorkerPool::Job*>{&others});
  go_on.count_down();
}

}  // namespace
}  // namespace forerun::nbd
