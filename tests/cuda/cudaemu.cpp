// The scheduler of cudaemu.h.
#include "cudaemu.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

namespace emu {
Thread* cur;
dim3 block_index, block_dim, grid_dim;

namespace {
constexpr size_t STACK = 64 * 1024;
struct Fiber {
  std::unique_ptr<char[]> stack;
  ucontext_t boot;
  jmp_buf jump;
  bool started = false, idle = true;
};
std::vector<Thread> threads;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<int> order;
int running;
jmp_buf scheduler;
void (*body)(void*);
void* state_of_body;
size_t next_new;

[[noreturn]] void die(const char* why) {
  std::fprintf(stderr, "cudaemu: %s in block (%u,%u,%u)\n", why, block_index.x, block_index.y, block_index.z);
  int shown = 0;
  for (auto& t : threads)
    if (t.state != DONE && shown++ < 40)
      std::fprintf(stderr, "  thread %u waits at %s mask %08x\n", t.lin, t.op ? t.op : "?", t.mask);
  std::abort();
}

void fiber_main() {  // runs threads until one blocks, so that a thread that never blocks costs no switch
  for (;;) {
    while (next_new < threads.size()) {
      Thread& t = threads[order[next_new++]];
      t.fiber = running;
      t.state = RUN;
      cur = &t;
      body(state_of_body);
      cur->state = DONE;
    }
    Fiber& f = *fibers[running];
    f.idle = true;
    if (!_setjmp(f.jump)) _longjmp(scheduler, 1);
  }
}

void resume(int i) {
  running = i;
  Fiber& f = *fibers[i];
  if (_setjmp(scheduler)) return;
  if (f.started) _longjmp(f.jump, 1);
  f.started = true;
  f.stack.reset(new char[STACK]);
  std::memset(f.stack.get(), 0xFF, STACK);
  getcontext(&f.boot);
  f.boot.uc_stack.ss_sp = f.stack.get();
  f.boot.uc_stack.ss_size = STACK;
  f.boot.uc_link = nullptr;
  makecontext(&f.boot, fiber_main, 0);
  setcontext(&f.boot);
}

bool arrived(const Thread* warp, size_t n, const Thread& t) {  // whether every live lane of its mask waits too
  for (size_t k = 0; k < n; ++k) {
    const Thread& other = warp[k];
    if (!(t.mask >> k & 1) || other.state == DONE) continue;
    if (other.state != WARP || other.mask != t.mask) return false;
    if (std::strcmp(other.op, t.op)) die("lanes of one mask are at different collectives");
  }
  return true;
}

bool release_warps() {
  bool any = false;
  for (size_t w = 0; w < threads.size(); w += 32) {
    size_t n = std::min<size_t>(32, threads.size() - w);
    Thread* warp = &threads[w];
    for (size_t l = 0; l < n; ++l) {
      if (warp[l].state != WARP) continue;
      if (!(warp[l].mask >> l & 1)) die("calling lane is not in its own mask");
      if (!arrived(warp, n, warp[l])) continue;
      unsigned mask = warp[l].mask;
      uint64_t values[32] = {};
      for (size_t k = 0; k < n; ++k)
        if (mask >> k & 1 && warp[k].state == WARP) values[k] = warp[k].value;
      for (size_t k = 0; k < n; ++k)
        if (mask >> k & 1 && warp[k].state == WARP) {
          std::memcpy(warp[k].snap, values, sizeof values);
          warp[k].state = RUN;
        }
      any = true;
    }
  }
  return any;
}

void run_block() {
  next_new = 0;
  for (;;) {
    while (next_new < threads.size()) {  // start threads on an idle fiber until one blocks or all are done
      size_t i = 0;
      while (i < fibers.size() && !fibers[i]->idle) ++i;
      if (i == fibers.size()) fibers.push_back(std::make_unique<Fiber>());
      fibers[i]->idle = false;
      resume(int(i));
    }
    for (int i : order)
      if (threads[i].state == RUN) resume(threads[i].fiber);
    if (std::any_of(threads.begin(), threads.end(), [](auto& t) { return t.state == RUN; })) continue;
    if (std::all_of(threads.begin(), threads.end(), [](auto& t) { return t.state == DONE; })) return;
    if (release_warps()) continue;
    for (auto& t : threads)
      if (t.state == WARP) die("deadlock (a lane of the mask never arrives)");
    for (auto& t : threads)
      if (t.state == BLOCK) t.state = RUN;  // every live thread is at the barrier
  }
}

void put_in_order(int n) {
  const char* mode = std::getenv("CUDAEMU_ORDER");
  order.resize(n);
  std::iota(order.begin(), order.end(), 0);
  if (!mode) return;
  if (!std::strcmp(mode, "reverse")) {
    std::reverse(order.begin(), order.end());
  } else {
    std::mt19937 random(std::atoi(mode));
    std::shuffle(order.begin(), order.end(), random);
  }
}
}  // namespace

void wait(State state, const char* op, unsigned mask) {  // suspends the calling CUDA thread
  Thread* t = cur;
  t->state = state;
  t->op = op;
  t->mask = mask;
  Fiber& f = *fibers[t->fiber];
  if (!_setjmp(f.jump)) _longjmp(scheduler, 1);
  cur = t;
  t->op = nullptr;
}

void launch(const unsigned* d, void (*kernel)(void*), void* state, void* shared_first, void* shared_last) {
  grid_dim = {d[0], d[1], d[2]};
  block_dim = {d[3], d[4], d[5]};
  body = kernel;
  state_of_body = state;
  unsigned n = d[3] * d[4] * d[5];
  if (n < 1 || n > 1024 || !d[0] || !d[1] || !d[2] || d[1] > 65535 || d[2] > 65535) {
    std::fprintf(stderr, "cudaemu: no GPU takes a grid of %u x %u x %u blocks of %u threads\n", d[0], d[1], d[2], n);
    std::abort();
  }
  put_in_order(int(n));
  threads.assign(n, {});
  for (unsigned i = 0; i < n; ++i) {
    threads[i].lin = i;
    threads[i].tid = {i % d[3], i / d[3] % d[4], i / (d[3] * d[4])};
  }
  for (block_index.z = 0; block_index.z < d[2]; ++block_index.z)
    for (block_index.y = 0; block_index.y < d[1]; ++block_index.y)
      for (block_index.x = 0; block_index.x < d[0]; ++block_index.x) {
        for (auto& t : threads) t.state = NEW;
        if (shared_first) std::memset(shared_first, 0xFF, static_cast<char*>(shared_last) - static_cast<char*>(shared_first));
        run_block();
      }
}
}  // namespace emu
