// Judges packets by the cluster's NetworkPolicies, with the code of kube-network-policies, on one node.
//
// That project's own program writes nftables rules with a queue expression, for which a kernel needs
// CONFIG_NFT_QUEUE. Where that is missing, iptables can still hand packets over (xt_NFQUEUE): the harness writes
// those rules, and this program does what the rest of that project's does: it listens on the queue and judges.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

func main() {
	klog.InitFlags(nil)
	kubeconfig := flag.String("kubeconfig", "", "the cluster")
	node := flag.String("node", "", "the node whose packets are judged")
	queue := flag.Int("queue", 100, "the number of the netfilter queue")
	flag.Parse()
	if err := run(*kubeconfig, *node, *queue); err != nil {
		klog.ErrorS(err, "ended")
		os.Exit(1)
	}
}

func run(kubeconfig, node string, queue int) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		factory.Networking().V1().NetworkPolicies(),
		factory.Core().V1().Namespaces(),
		factory.Core().V1().Pods(),
		nil, nil, nil, nil,
		networkpolicy.Config{NodeName: node, QueueID: queue},
	)
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	return controller.Run(ctx)
}
