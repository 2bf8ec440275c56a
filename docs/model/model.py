import random, sys, time, collections
from collections import namedtuple
Rec=namedtuple('Rec','key tomb dot stamp g lin owner cdot exp auto')
GRACE=60
DEF=dict(settle=0,G=0,ctx=0,snapstart=0,refillq=0,detect=0,expd=0,joint=0,stalereg=0,noncoord=0,loglose=1,evid=1,tie=0,ghost=0,hintptr=0,deadline=0,besides=0)
ALLF=dict(settle=1,G=1,ctx=1,snapstart=1,refillq=1,detect=1,expd=1,joint=1,stalereg=1,noncoord=1,loglose=1,evid=1,tie=1,hintptr=1,deadline=1,besides=1)
EXACT=2   # moments kept apart at the beginning of a history; few, so that stretches are filled soon
FILLED=-1;TOP=1<<60
def again(lin,stp):
    if stp<=lin[-1]: stp=lin[-1]+1
    if len(lin)<=EXACT: return lin+(stp,)
    if FILLED in lin:
        i=lin.index(FILLED);end=max(TOP-lin[i+1]+1,*lin[i+2:]);return lin[:i+1]+(TOP-end,stp)
    return lin[:EXACT]+(FILLED,TOP-max(lin[EXACT:]),stp)
def besides(lin,stp):   # the same request may have created the key at stp, before the last creation
    last=lin[-1]
    if stp>=last or stp in lin: return lin
    if FILLED not in lin:
        if len(lin)<=EXACT: return tuple(sorted(lin+(stp,)))
        head=lin[:EXACT];end=0
    else:
        i=lin.index(FILLED);head=lin[:i];end=TOP-lin[i+1]
        if head[-1]<stp<=end: return lin
    return tuple(sorted(head+(stp,)))[:len(head)]+(FILLED,TOP-max(end,stp,head[-1],*lin[len(head)+2*(FILLED in lin):-1]),last)
def okey(r): return (r.g,tuple(-s for s in r.lin),r.stamp)
class Viol(Exception): pass
class Node:
    def __init__(s,w,i):
        s.w=w;s.i=i;s.up=True;s.skew=w.r.randint(-4,4);s.hlc=0;s.hints={};s.ver=0
        s.recs={};s.clock=set();s.G=0;s.whole=True;s.aside=[];s.got=set();s.ser=False
        s.snap=({},set(),0,True,[],set());s.log=[];s.base=0;s.synced=0;s.cb=[];s.prog=None
        s.K={};s.settle={};s.rounds={};s.backups=[];s.forgot=False;s.lonely=False;s.restored=False
        s.newepoch()
    def newepoch(s):
        s.w.ep+=1;s.ep=s.w.ep;s.seq=0;s.wset=set()
    def st(s):
        t=(s.w.now+s.skew)<<20
        s.hlc=max(s.hlc+(1<<12),t)&~0xfff
        return s.hlc|s.ep
    # --- log
    def ap(s,e):
        c=s.exe(e)
        if c: s.log.append(e)
        return c
    def exe(s,e,replay=False):
        o=e[0]
        if o=='m':
            r=e[1];s.hlc=max(s.hlc,r.stamp)
            if r.dot in s.clock: return False
            s.clock.add(r.dot);cur=s.recs.get(r.key)
            if cur is None or okey(r)>okey(cur): s.recs[r.key]=r;return True
            return bool(s.w.f['loglose'])
        if o=='drop':
            cur=s.recs.get(e[1])
            if cur and cur.dot==e[2]:
                del s.recs[e[1]]
                if s.w.f['G'] and e[3] is True: s.G=max(s.G,cur.g+1)
                elif s.w.f['G']: s.G=max(s.G,e[3])
                return True
            return False
        if o=='set': s.recs[e[1].key]=e[1];s.clock.add(e[1].dot);return True
        if o=='join':
            ch=not(e[1]<=s.clock) or e[2]>s.G
            s.clock|=e[1]
            if s.w.f['G']: s.G=max(s.G,e[2])
            return ch
        if o=='reset':
            s.recs={};s.clock=set();s.G=0;s.whole=False;s.aside=list(e[1]);s.got=set();s.settle={};return True
        if o=='got': s.got=s.got|{e[1]};return True
        if o=='whole':
            s.whole=True;a=s.aside;s.aside=[]
            for r in a: s.exe(('m',r))
            return True
        if o=='lone':
            a=s.aside;s.aside=[]
            for r in a: s.exe(('m',r))
            if not s.w.f['refillq']: s.whole=True
            return True
    def sync(s):
        s.synced=len(s.log);cb,s.cb=s.cb,[]
        for f in cb:f()
    def cover(s): return s.clock
    def durclock(s): 
        n=s.load(s.synced);return n[1]
    def load(s,k):
        # recover from snapshot + log[base:k] -> sets state
        save=(s.recs,s.clock,s.G,s.whole,s.aside,s.got,s.hlc,s.settle)
        R,C,g,wh,a,go=s.snap
        s.recs=dict(R);s.clock=set(C)|{r.dot for r in R.values()};s.G=g;s.whole=wh;s.aside=list(a);s.got=set(go)
        for e in s.log[s.base:k]: s.exe(e,True)
        out=(s.recs,s.clock,s.G,s.whole,s.aside,s.got)
        s.recs,s.clock,s.G,s.whole,s.aside,s.got,s.hlc,s.settle=save
        return out
    def crash(s,k=None):
        if not s.up:return
        s.up=False;s.cb=[];s.prog=None;s.rounds={};s.K={};s.settle={}
        if k is None:k=s.w.r.randint(s.synced,len(s.log))
        k=max(k,s.base)
        s.recs,s.clock,s.G,s.whole,s.aside,s.got=s.load(k)
        s.log=s.log[:k];s.synced=k
    def setstate(s,st):
        R,C,g,wh,a,go=st
        s.recs,s.clock,s.G,s.whole,s.aside,s.got=dict(R),set(C),g,wh,list(a),set(go)
        s.snap=(dict(R),set(C),g,wh,list(a),set(go));s.base=len(s.log);s.synced=len(s.log)
    def start(s):
        if s.up or s.forgot:return
        s.up=True;s.newepoch();s.lonely=False
    def snapstep(s):
        if s.prog is None:
            s.sync();s.prog=[len(s.log),set(s.clock),{},list(s.w.keys),s.G,s.whole,list(s.aside),set(s.got)]
            s.w.r.shuffle(s.prog[3]);return
        p=s.prog
        if p[3]:
            k=p[3].pop()
            if k in s.recs:p[2][k]=s.recs[k]
        else:
            s.sync()
            c=p[1] if s.w.f['snapstart'] else set(s.clock)
            s.snap=(p[2],c,p[4],p[5],p[6],p[7]);s.base=p[0];s.prog=None
    def view(s): return s.w.cfgs[s.ver]
    def owners_all(s):
        v=s.view();return v[1]|v[2]
    def expired(s,r): return r.exp and s.w.now+s.skew>r.exp
class World:
    def __init__(s,seed,f,faults):
        s.r=random.Random(seed);s.f=dict(DEF,**f);s.fl=faults;s.now=100;s.ep=0;s.twofold=set();s.trace=[]
        n=s.r.choice([3,3,3,4,5]) ;tot=n+(2 if 'reg' in faults else 0)
        s.keys=['k%d'%i for i in range(s.r.choice([1,2,3]))];s.users=['al','bo','ca'][:s.r.choice([2,3])]
        s.nodes=[];
        for i in range(tot): s.nodes.append(Node(s,i))
        own=frozenset(range(min(n,s.r.choice([3,n]))))
        s.cfgs=[(0,own,own)];s.net=[];s.part=None;s.past={};s.recs={};s.acked={};s.gced=set();s.wall=[]
        s.allw=[];s.inhist=collections.defaultdict(set);s.stat=collections.Counter();s.writes=[]
        s.dmg=None;s.infinal=False;s.ackt={}
        s.cre={}
    def t(s,*a): s.trace.append((s.now,)+a)
    def reach(s,a,b): return s.part is None or (s.part[a]==s.part[b])
    def send(s,a,b,m):
        s.net.append((a,b,m))
    # ---- client ops
    def coords(s):
        out=[]
        for n in s.nodes:
            if not n.up or n.forgot: continue
            v=n.view()
            if n.i not in v[1]|v[2]:continue
            if s.f['noncoord']:
                if n.i not in v[1]: continue
                if not n.whole and not n.lonely:continue
            out.append(n)
        return out
    def pastof(s,n,key):
        p=set(d for d in n.clock if s.recs[d].key==key)
        for d in list(p): p|=s.past[d]
        return frozenset(p)
    def twice(s):
        # a request that created a key, and was not heard of, is carried out again where all that it had seen is known
        W=s.r.choice(s.writes[-12:]);w=W['rec']
        if w.auto or w.tomb or w.cdot!=w.dot or W.get('twice'):return
        for n in s.coords():
            if n.i!=W['n'] and w.dot not in n.clock and s.past[w.dot]<=n.clock and w.lin[-1] not in (n.recs[w.key].lin if w.key in n.recs else ()):
                W['twice']=True;n.hlc=max(n.hlc,w.stamp)
                r=s.put(n,W['user'],w.key,first=w)
                if r:
                    s.stat['twice']+=1;s.writes[-1]['twice']=True
                    if r.g==w.g and r.lin[-1]>=w.lin[-1] and okey(r)<okey(w): raise Viol('second attempt %s gives way to first %s'%(r,w))
                return
    def put(s,n,user,key,delete=False,exp=0,auto=False,first=None):
        cur=n.recs.get(key)
        dead=cur is None or cur.tomb or (s.f['expd'] and n.expired(cur))
        if n.expired(cur) if cur and not auto else False: dead=True
        if not auto:
            if not dead and cur.owner!=user:return
            if delete and dead:return
        n.seq+=1;d=(n.i,n.ep,n.seq);stp=n.st();owner=user
        if delete: lin=cur.lin;g=cur.g;cd=cur.cdot;owner=cur.owner
        elif dead:
            cd=d;at=first.lin[-1] if first else stp
            if cur is None: lin=(at,);g=n.G if s.f['G'] else 0
            else: lin=again(besides(cur.lin,at) if s.f['besides'] and first else cur.lin,at);g=cur.g;s.stat['filled']+=FILLED in lin
            if cur is None and any(s.recs[x].key==key for x in n.clock): s.stat['cre_after_gc']+=1
        else:
            lin=cur.lin;g=cur.g;cd=cur.cdot
            if first and s.f['besides']: lin=besides(lin,first.lin[-1]);s.twofold.add(lin)
        r=Rec(key,delete,d,stp,g,lin,owner,cd,exp,auto)
        p=s.pastof(n,key)
        # causal past contains only what record chain saw + covered
        if d in s.recs: raise Viol('dot reuse')
        s.past[d]=p;s.recs[d]=r
        n.ap(('m',r))
        if n.recs.get(key)!=r: raise Viol('own write lost locally %s'%(r,))
        s.t('put',n.i,user,key,'DEL' if delete else 'v',d,'lin',lin,'g',g,'auto' if auto else '')
        v=n.view();acks=set();W=dict(t=s.now,rec=r,acks=acks,n=n.i,ep=n.ep,view=v,user=user,done=False)
        s.writes.append(W)
        def self_ok():s.ack(W,n.i)
        n.cb.append(self_ok)
        for o in (v[1]|v[2])-{n.i}:
            s.send(n.i,o,('w',r,W,n.ver));
            if s.r.random()<.5:n.hints.setdefault(o,{})[key]=r
        return r
    def quor(s,v,acks):
        a,b=v[1],v[2]
        if s.f['joint']: return 2*len(acks&a)>len(a) and 2*len(acks&b)>len(b)
        return 2*len(acks&(a|b))>len(a|b)
    def ack(s,W,i):
        W['acks'].add(i)
        if not W['done'] and s.quor(W['view'],W['acks']) and s.nodes[W['n']].ep==W['ep'] and s.nodes[W['n']].up:
            W['done']=True;s.acked[W['rec'].dot]=W['user'];s.t('ACKED',W['rec'].dot,tuple(W['acks']))
    def le(s,a,b):
        # write a legitimately superseded by b
        if a==b:return True
        pa,pb=s.past[a],s.past[b]
        if a in pb:return True
        if b in pa:return False
        return okey(s.recs[b])>okey(s.recs[a])
    def reachable(s,a):
        seen={a};st=[a];k=s.recs[a].key
        ds=[d for d in s.recs if s.recs[d].key==k]
        while st:
            x=st.pop()
            for d in ds:
                if d not in seen and s.le(x,d): seen.add(d);st.append(d)
        return seen
    def read(s,n,key):
        v=n.view();own=v[1]
        if n.i not in own or not n.up:return
        if s.f['refillq'] and not n.whole:return
        need=len(own)//2+1
        c=[m for m in s.nodes if m.up and m.i in own and m.i!=n.i and s.reach(n.i,m.i) and not m.forgot]
        if s.f['refillq']: c=[m for m in c if m.whole]
        if s.f['stalereg']: c=[m for m in c if m.ver<=n.ver]
        if s.f['joint'] and v[1]!=v[2]:
            c=[m for m in s.nodes if m.up and m.i in v[1]|v[2] and m.i!=n.i and s.reach(n.i,m.i) and not m.forgot and m.whole and m.ver<=n.ver]
            s.r.shuffle(c);S=[]
            for m in c:
                if s.quor(v,{x.i for x in S}|{n.i}):break
                S.append(m)
            c=S
            if not s.quor(v,{x.i for x in S}|{n.i}):return
        else:
            c=c if len(c)<need-1 else s.r.sample(c,need-1)
            if len(c)<need-1:return
        if s.f['detect']:
            for m in [n]+c:
                if m.restored:return
        best=None
        for m in [n]+c:
            m.sync();x=m.recs.get(key)
            if x and (best is None or okey(x)>okey(best)):best=x
        s.stat['reads']+=1
        for d,u in s.acked.items():
            r=s.recs[d]
            if r.key!=key:continue
            R=s.reachable(d)
            if best is not None:
                if best.dot not in R:raise Viol('stale-read key %s acked %s got %s'%(key,d,best.dot))
            elif not any(s.recs[x].tomb or (s.recs[x].exp and s.recs[x].exp<s.now+8) for x in R): raise Viol('stale-read-none key %s acked %s by %s'%(key,d,[n.i]+[m.i for m in c]))
        if best and s.f['tie']<2:
            for m in [n]+c: m.ap(('m',best))
    # ---- delivery
    def deliver(s,a,b,m):
        n=s.nodes[b]
        if not n.up or n.forgot:return
        if s.nodes[a].forgot and n.ver>=s.nodes[a].fver:return
        o=m[0]
        if o=='w':
            r,W,ver=m[1:]
            if W is not None and s.f['deadline'] and s.now-W['t']>GRACE//2:return
            if s.f['stalereg'] and ver is not None:
                if ver<n.ver: s.nodes[a].ver=max(s.nodes[a].ver,n.ver) if s.reach(a,b) else s.nodes[a].ver; W=None
                elif ver>n.ver: n.ver=ver
            v=n.view()
            if n.i not in v[1]|v[2] : return
            n.ap(('m',r))
            if W is not None:
                def f(n=n,a=a,W=W): s.send(n.i,a,('a',W,n.i))
                n.cb.append(f)
        elif o=='a': s.ack(m[1],m[2])
        elif o=='aeq':
            rid,ep,ck,dur,g=m[1:]
            if s.f['evid'] : n.K[a]=dur
            else: n.K[a]=ck
            if s.f['evid']: n.sync()
            keys=[k for k,x in n.recs.items() if x.dot not in ck]
            s.r.shuffle(keys);h=len(keys)//2
            s.send(b,a,('ae1',rid,n.ep,[n.recs[k] for k in keys[:h]]))
            n.rounds[('srv',rid)]=(a,keys[h:],frozenset(n.clock),n.G,dict((k,x.dot) for k,x in n.recs.items()))
        elif o=='ae1':
            rid,ep,rs=m[1:]
            if rid in n.rounds:
                for x in rs:n.ap(('m',x))
                n.rounds[rid]=ep
        elif o=='ae2':
            rid,ep,rs,c0,g,held,wh=m[1:]
            if n.rounds.get(rid)==ep:
                for x in rs:n.ap(('m',x))
                n.K[a]=c0
                if s.f['ctx']:
                    for k,x in list(n.recs.items()):
                        if x.dot in c0 and k not in held: n.ap(('drop',k,x.dot,int(g)));s.t('ctxdrop',n.i,x.dot)
                n.ap(('join',c0,g));del n.rounds[rid];s.t('AEjoin',b,'from',a)
                if not n.whole and (wh or not s.f['refillq']):
                    n.ap(('got',a));s.trywhole(n)
        elif o=='dig':
            # peer's map, clock, recs, atomically
            held,c0,g,wh=m[1:]
            for k,x in held.items():
                cur=n.recs.get(k)
                if cur and cur.dot==x.dot:continue
                if x.dot not in n.clock:
                    if s.f['ctx'] and cur and cur.dot in c0: n.ap(('set',x))   # peer saw ours and replaced it
                    else: n.ap(('m',x))
                elif cur and cur.dot in c0 and s.f['tie'] and okey(x)>okey(cur): n.ap(('set',x));s.t('TIE',b,x.dot,'over',cur.dot);s.stat['tie']+=1
            if s.f['ctx']:
                for k,x in list(n.recs.items()):
                    if k not in held and x.dot in c0: n.ap(('drop',k,x.dot,int(g)));s.t('ctxdrop',n.i,x.dot)
    def trywhole(s,n):
        v=n.view();own=v[1]
        if s.f['refillq']:
            N=len(own);q=N//2+1
            need=(N-q+1) if n.i in own else q
            if len(n.got&own-{n.i})<min(need,len(own-{n.i})):return
        elif not n.got:return
        n.ap(('whole',));s.t('whole',n.i)
    def ae(s,a,b):
        n=s.nodes[a]
        if not n.up or n.forgot:return
        if s.f['detect'] and n.restored:
            n.ap(('reset',tuple(n.recs.values())));n.restored=False;s.t('detected restore',a)
        rid=(a,b,s.r.random());n.rounds[rid]=None
        if s.f['evid']:n.sync()
        s.send(a,b,('aeq',rid,n.ep,frozenset(n.clock),frozenset(n.clock),n.G))
    def aepump(s,n):
        for k in [k for k in n.rounds if k[0]=='srv'][:1]:
            a,keys,c0,g,held=n.rounds.pop(k)
            s.send(n.i,a,('ae2',k[1],n.ep,[n.recs[x] for x in keys if x in n.recs],c0,g,held,n.whole))
    def dig(s,a,b):
        n=s.nodes[a]
        if n.up and not n.forgot:
            if s.f['detect'] and n.restored:return
            s.send(a,b,('dig',dict(n.recs),frozenset(n.clock),n.G,n.whole))
    def gc(s,n):
        own=n.owners_all()
        v=n.view()
        if n.i not in own:return
        if s.f['refillq'] and not n.whole:return
        for k,x in list(n.recs.items()):
            tomb=x.tomb or (s.f['expd'] and x.exp and n.expired(x))
            base=x.exp if (not x.tomb and x.exp) else x.stamp>>20
            if not tomb or s.now-base<GRACE:continue
            others=own-{n.i}
            if not all(o in n.K and x.dot in n.K[o] for o in others):continue
            if s.f['settle']:
                if v[1]!=v[2]: continue
                J=n.settle.get(x.dot)
                if J is None or J[0]!=n.ver:
                    J=set(n.clock)
                    for o in others:J|=n.K[o]
                    n.settle[x.dot]=J=(n.ver,frozenset(J),s.now)
                t0=J[2];J=J[1]
                if s.now-t0<GRACE or not (J<=n.clock and all(J<=n.K[o] for o in others)):continue
            n.ap(('drop',k,x.dot,True));s.gced.add(x.dot);s.t('GC',n.i,x.dot)
            s.stat['gc']+=1;s.stat['gcmid']+=0 if s.infinal else 1
    # ---- registry
    def curv(s): return s.cfgs[-1]
    def regstep(s):
        v=s.curv()
        if v[1]!=v[2]:
            # try to finish: every new owner whole
            news=v[2]-v[1]
            if all(s.nodes[i].whole and s.nodes[i].ver==len(s.cfgs)-1 and s.nodes[i].up for i in news):
                if s.f['joint'] and 2*sum(1 for i in v[1] if s.nodes[i].ver==len(s.cfgs)-1)<=len(v[1]):return
                if s.f['joint']:
                    # leavers must have been drained into every new owner (old owner drops only after confirm)
                    pass
                s.cfgs.append((len(s.cfgs),v[2],v[2]));s.t('reg done',sorted(v[2]))
                for i in v[2]: 
                    if s.nodes[i].up and s.r.random()<.5:s.nodes[i].ver=len(s.cfgs)-1
            return
        if len(s.cfgs)>6:return
        # start change: needs majority of owners at current version when joint
        if s.f['joint'] and 2*sum(1 for i in v[1] if s.nodes[i].ver==len(s.cfgs)-1)<=len(v[1]):return
        own=set(v[1]);sp=[n.i for n in s.nodes if n.i not in own and n.up and not n.forgot and not n.recs and not n.clock]
        op=s.r.choice(['join','leave','swap','swap2','forget'])
        new=set(own)
        if op in('join','swap','swap2') and sp:
            for i in sp[:2 if op=='swap2' else 1]:new.add(i)
        if op=='swap2':
            for i in s.r.sample(sorted(own),min(2,len(own)-1)): new.discard(i)
        if op in('leave','swap'):new.discard(s.r.choice(sorted(own)))
        if op=='forget' and len(own)>3:
            x=s.r.choice(sorted(own))
            if s.safe_to_lose(x):
                s.nodes[x].forgot=True;s.nodes[x].fver=len(s.cfgs);s.nodes[x].up=False;new.discard(x)
                s.cfgs.append((len(s.cfgs),frozenset(new),frozenset(new)));s.t('forget',x)
                for i in new:
                    if s.nodes[i].up:s.nodes[i].ver=len(s.cfgs)-1
            return
        if len(new)<3 or new==own:return
        for i in new-own:
            n=s.nodes[i];n.ap(('reset',()));n.sync();n.ver=len(s.cfgs)
        s.cfgs.append((len(s.cfgs),frozenset(own),frozenset(new)));s.t('reg',sorted(own),'->',sorted(new),op)
        for i in own|new:
            if s.nodes[i].up and s.r.random()<.4:s.nodes[i].ver=len(s.cfgs)-1
    def leavers(s):
        # an ex-owner drops its data once every new owner's clock covers its clock (confirmed) 
        last=len(s.cfgs)-1
        for n in s.nodes:
            if n.up and n.ver==last and not n.forgot:
                v=n.view()
                if n.i not in v[1]|v[2] and n.clock:
                    if all(n.clock<=set(n.K.get(o,())) for o in v[2]):
                        n.recs={};n.clock=set();n.log=[];n.base=0;n.synced=0;n.snap=({},set(),0,True,[],set());n.G=0;n.aside=[];n.whole=True;n.hints={};n.rounds={}
                        s.t('leaver dropped',n.i)
                    else:
                        for o in v[2]:
                            if s.reach(n.i,o) : s.ae(o,n.i);s.ae(n.i,o)
    def safe_to_lose(s,x):
        # oracle guard: only lose a copy if acked writes are at enough others (majority-1 others keep it) and no other is damaged
        if s.curv()[1]!=s.curv()[2]:return False
        if any((not n.whole or n.restored) and not n.forgot for n in s.nodes if n.i!=x):return False
        own=s.curv()[2];q=len(own)//2+1
        for d in s.acked:
            c=sum(1 for n in s.nodes if n.i in own and n.i!=x and d in n.durclock())
            if c<q-1 or c<1:return False
        return True
    # ---- scheduler
    def step(s):
        r=s.r;s.now+=r.choice([0,0,1,1,2,5]);f=s.fl
        op=r.choices(['msg','put','del','read','ae','pump','dig','sync','hint','gc','crash','start','part','heal','snap','damage','backup','restore','expire','reg','gossip','lone','time','dup','twice'],
          [55 if 'busy' in f else 30,8,7 if 'busy' in f else 4,4 if 'read' in f else 0,22 if 'busy' in f else 7,20 if 'busy' in f else 8,3,16 if 'busy' in f else 10,3,(12 if "gc" in f else 4),(.8 if 'busy' in f else 1.2) if 'crash' in f else 0,5 if 'busy' in f else 3,(.5 if 'busy' in f else 1) if 'part' in f else 0,2.5 if 'busy' in f else 1.5,4 if 'snap' in f else 0,.5 if 'dmg' in f else 0,.7 if 'bak' in f else 0,.5 if 'bak' in f else 0,2 if 'exp' in f else 0,1.5 if 'reg' in f else 0,3,1,.8,1,4 if 'twice' in f else 0])[0]
        n=r.choice(s.nodes);k=r.choice(s.keys)
        own=sorted(s.curv()[1]|s.curv()[2])
        if op=='msg':
            for _ in range(3):
                if not s.net:return
                i=r.randrange(len(s.net)) if r.random()<.6 else 0
                a,b,m=s.net.pop(i)
                if not s.reach(a,b):
                    if m[0]=='w' and r.random()<.4:s.allw.append((a,b,m))
                    continue
                if r.random()<.06: 
                    if m[0]=='w':s.allw.append((a,b,m))
                    continue
                if m[0]=='w' and r.random()<.2:s.allw.append((a,b,m))
                s.deliver(a,b,m)
        elif op in('put','del'):
            c=s.coords()
            if c:
                n=r.choice(c)
                if 'own1' in f: u=s.users[0]
                else:u=r.choice(s.users)
                s.put(n,u,k,op=='del',exp=(s.now+r.randint(5,40)) if ('exp' in f and op=='put' and r.random()<.5) else 0)
        elif op=='twice':
            if s.writes:s.twice()
        elif op=='read':
            c=[n for n in s.nodes if n.up];
            if c:s.read(r.choice(c),k)
        elif op=='ae':
            a,b=r.choice(own),r.choice(own)
            if a!=b:s.ae(a,b)
        elif op=='pump':
            for n in s.nodes:
                if n.up:s.aepump(n)
        elif op=='dig':
            a,b=r.choice(own),r.choice(own)
            if a!=b:s.dig(a,b)
        elif op=='sync':
            if n.up:n.sync()
        elif op=='hint':
            s.hint(n)
        elif op=='gc':
            if n.up:s.gc(n)
        elif op=='crash':
            if n.up and not n.forgot: n.crash();s.t('crash',n.i)
        elif op=='start':
            if not n.up: n.start();s.t('start',n.i)
        elif op=='part': s.part=[r.randint(0,1) for _ in s.nodes];s.t('part',s.part)
        elif op=='heal': s.part=None
        elif op=='snap':
            if n.up:n.snapstep()
        elif op=='damage':
            if n.i in own and not n.forgot and s.safe_to_lose(n.i):
                n.crash(n.synced) if n.up else 0
                # some older state is aside
                src=[x for x in n.recs.values() if r.random()<.7]
                for b in n.backups[-1:]: src+=[x for x in b[0].values() if r.random()<.5]
                n.setstate((n.recs,n.clock,n.G,n.whole,n.aside,n.got));n.ap(('reset',tuple(src)));n.sync();n.start();s.t('damage',n.i,[x.dot for x in src])
        elif op=='backup':
            if n.up and n.whole and n.i in own: n.sync();n.backups.append((dict(n.recs),set(n.clock),n.G,n.whole,[],set()));n.bver=n.ver
        elif op=='restore':
            if n.backups and n.i in own and not n.forgot and n.bver==n.ver and s.safe_to_lose(n.i):
                n.crash(n.synced) if n.up else 0
                n.setstate(n.backups[0]);n.hlc=0;n.restored=True;n.start();s.t('restore',n.i,sorted(n.recs.values()))
        elif op=='expire':
            for m in s.nodes:
                if m.up and m in s.coords() and not s.f['expd']:
                    for k,x in list(m.recs.items()):
                        if not x.tomb and m.expired(x) and r.random()<.7: s.put(m,x.owner,k,True,auto=True)
        elif op=='reg': s.regstep();s.leavers()
        elif op=='gossip':
            m=r.choice(s.nodes)
            if n.up and m.up and s.reach(n.i,m.i): n.ver=m.ver=max(n.ver,m.ver)
        elif op=='lone':
            if n.up and not n.whole and n.i in s.curv()[1] and not any(m.up and m.i!=n.i and m.i in own and s.reach(n.i,m.i) for m in s.nodes):
                n.lonely=True;n.ap(('lone',));s.t('lone',n.i)
        elif op=='time': s.now+=r.choice([10,GRACE])
        elif op=='dup':
            if s.allw:
                x=r.choice(s.allw)
                if s.reach(x[0],x[1]):s.deliver(*x)
    def hint(s,n,clear=True):
        if not n.up or n.forgot:return
        for o,h in list(n.hints.items()):
            if not s.reach(n.i,o):continue
            for k,x in list(h.items()):
                if s.f['hintptr']:
                    x=n.recs.get(k)
                    if x is None: continue
                s.deliver(n.i,o,('w',x,None,None))
                if clear and s.r.random()<.5:del h[k]
    def drain(s):
        g=0
        while s.net and g<5000:
            g+=1;a,b,m=s.net.pop(0);s.deliver(a,b,m)
            for n in s.nodes:
                if n.up:s.aepump(n);n.sync()
    def settle_all(s,rounds=6,gc=False):
        prev=None
        for _ in range(rounds):
            last=len(s.cfgs)-1
            own=sorted(s.curv()[1]|s.curv()[2])
            for n in s.nodes:
                if n.up and not n.forgot:
                    n.ver=last;s.hint(n)
            for a in own:
                for b in own:
                    if a!=b: s.ae(a,b);s.drain()
            for a in own:
                for b in own:
                    if a!=b: s.dig(a,b);s.drain()
            for n in s.nodes:
                if n.up and not n.whole and n.i in own:
                    s.trywhole(n)
            if s.curv()[1]!=s.curv()[2]: 
                s.regstep()
            s.leavers();s.drain()
            if gc:
                for n in s.nodes:
                    if n.up:s.gc(n)
    def final(s):
        s.infinal=True
        s.part=None
        for n in s.nodes:n.start()
        s.drain()
        s.settle_all(8);s.check('heal')
        s.now+=GRACE*3;s.settle_all(3,gc=True);s.now+=GRACE*2;s.settle_all(4,gc=True);s.check('gc')
        for x in s.r.sample(s.allw,len(s.allw)): s.deliver(*x)
        s.drain();s.settle_all(3,gc=True);s.check('replay')
    def check(s,ph):
        own=sorted(s.curv()[2]);ns=[s.nodes[i] for i in own]
        for k in s.keys:
            vals={n.i:(n.recs[k].dot if k in n.recs else None) for n in ns}
            if ph!='gc' and len(set(vals.values()))>1 and not (ph!='heal' and all(v is None or s.recs[v].tomb for v in vals.values())):
                raise Viol('%s diverge %s %s'%(ph,k,vals))
            if ph!='heal':
                pass
            F=ns[0].recs.get(k);Fs=set(vals.values())
            for fd in Fs:
                F=s.recs[fd] if fd else None
                for d in set(s.acked)|s.gced:
                    if s.recs[d].key!=k:continue
                    R=s.reachable(d)
                    if F is None:
                        if not any(s.recs[x].tomb or s.recs[x].exp for x in R): raise Viol('%s lost acked %s -> nothing'%(ph,d))
                    elif fd not in R:
                        raise Viol('%s %s %s now %s'%(ph,'resurrect past gc' if d in s.gced else 'lost acked',d,fd))
                    W=s.recs[d]
                    if F and d in s.acked and not W.auto and F.auto and d not in s.past[fd] :
                        raise Viol('%s acked %s lost to concurrent expiry %s'%(ph,d,fd))
                    if F and not F.tomb and not W.tomb and d in s.acked and W.owner!=F.owner:
                        cf,cw=F.cdot,W.cdot
                        if cw in s.past[cf]:
                            RR=s.reachable(cw)
                            if not any((s.recs[x].tomb or s.recs[x].exp) and x in RR for x in s.past[cf]):
                                raise Viol('%s owner moved w/o delete %s(%s)->%s(%s)'%(ph,d,W.owner,fd,F.owner))
                        elif cf in s.past[cw]: raise Viol('%s owner moved back %s(%s)->%s(%s)'%(ph,d,W.owner,fd,F.owner))
                        elif not s.le(cw,cf) and F.lin[:len(W.lin)]!=W.lin and FILLED not in F.lin+W.lin and F.lin not in s.twofold: raise Viol('%s creation race lost by earlier %s->%s'%(ph,d,fd))
                        elif F.g>W.g and F.lin[0]>W.lin[0]: s.stat['race by G']+=1
                        
def run(seed,f,faults,steps=None):
    w=World(seed,f,faults)
    try:
        for _ in range(steps or w.r.choice([200,400] if 'busy' in faults else [60,120,200])): w.step()
        w.final()
    except Viol as e: return w,str(e)
    return w,None
def batch(name,f,faults,n,s0=0,tmax=60,show=1):
    t=time.process_time();c=collections.Counter();ex={};st=collections.Counter();i=0
    for i in range(n):
        w,v=run(s0+i,f,faults);st+=w.stat;st['acked']+=len(w.acked)
        if v:
            k=' '.join(x for x in v.split() if not any(ch in x for ch in '(){}[]:,') and x not in w.keys)[:60];c[k]+=1
            if k not in ex or len(w.trace)<ex[k][1]: ex[k]=(s0+i,len(w.trace),v)
        if time.process_time()-t>tmax:break
    print(name,'hist',i+1,'viol',sum(c.values()),dict(c),'|',{k:st[k] for k in('gc','gcmid','cre_after_gc','reads','acked','tie','race by G','filled','twice')},'%.0fs'%(time.process_time()-t),flush=True)
    if show:
        for k,x in ex.items():print('    ',k,x,flush=True)
    return c,ex
